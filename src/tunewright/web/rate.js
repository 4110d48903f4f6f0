// The rating page: shows what the server sends as plain text, and sends back what is pressed. Knows no contestant.
"use strict";

const at = (id) => document.getElementById(id);
const REMEMBERED = "tunewright rater"; // in this tab: a reload goes on with the same name
let rater = "";
let state = null;
let busy = false;
let shownAt = 0;
let marks = {}; // of a case: criterion -> passed or not
let critical = null;

async function call(what, body) {
  const answer = await fetch(what, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error.message);
  return said;
}

async function send(what, body, told) {
  if (busy) return;
  busy = true;
  try {
    show(await call(what, { rater, ...body }));
    tell(told);
  } catch (error) {
    const gone = error instanceof TypeError; // what fetch throws when nobody answers
    tell(gone ? "The server does not answer: this rating was not kept. Start it again: tunewright rate" : error.message, true);
  } finally {
    busy = false;
  }
}

function tell(text, bad = false) {
  at("told").textContent = text;
  at("told").classList.toggle("bad", bad);
}

function put(place, text) {
  place.textContent = text || "(an empty answer)";
  place.classList.toggle("empty", !text);
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function show(next) {
  state = next;
  const pairs = state.kind === "pair";
  at("begin").hidden = true;
  at("far").hidden = at("who").hidden = false;
  at("who").textContent = `${state.rater} (change)`;
  at("count").textContent = `${state.done} of ${state.total}`;
  at("progress").setAttribute("aria-valuemax", state.total);
  at("progress").setAttribute("aria-valuenow", state.done);
  at("progress").firstElementChild.style.width = `${(100 * state.done) / Math.max(state.total, 1)}%`;
  for (const button of document.querySelectorAll(".undo")) button.disabled = !state.can_undo;
  at("turn").hidden = !state.item;
  at("done").hidden = Boolean(state.item);
  if (!state.item) {
    at("sum").textContent = `${state.rater}, you have rated everything there is. Close this page, or let somebody else rate.`;
    return;
  }
  put(at("prompt"), state.item.prompt);
  put(at("left").lastElementChild, state.item.answers[0]);
  at("left").firstElementChild.textContent = pairs ? "Left" : "Answer";
  at("right").hidden = at("choices").hidden = !pairs;
  if (pairs) put(at("right").lastElementChild, state.item.answers[1]);
  at("answers").classList.toggle("one", !pairs);
  at("expected").hidden = pairs || !state.item.expected;
  at("expected").open = false;
  at("expected").lastElementChild.textContent = state.item.expected || "";
  const before = state.before || { criteria: {}, comment: "" };
  at("comment").value = before.comment;
  marks = {};
  critical = null;
  if (pairs) rubricOfPair(before.criteria);
  else rubricOfCase();
  shownAt = performance.now();
  at("prompt").focus(); // where the next thing to read begins
  window.scrollTo(0, 0);
}

// --- pairs ---

function rubricOfPair(before) {
  at("rubric").replaceChildren(
    ...state.criteria.map((name) => {
      const field = document.createElement("fieldset");
      field.append(element("legend", name));
      for (const value of ["left", "same", "right"]) {
        const label = element("label", "");
        const input = element("input", "", { type: "radio", name, value });
        input.checked = before[name] === value;
        label.append(input, ` ${value}`);
        field.append(label);
      }
      return field;
    }),
  );
}

function choose(choice) {
  const criteria = {};
  for (const input of at("rubric").querySelectorAll("input:checked")) criteria[input.name] = input.value;
  submit({ choice, criteria }, choice === "skip" ? "Skipped." : "Saved.");
}

function submit(said, told) {
  const seconds = Math.min((performance.now() - shownAt) / 1000, 3600);
  send("rate", { place: state.item.place, comment: at("comment").value, seconds, ...said }, told);
}

// --- cases ---

function rubricOfCase() {
  const open = state.criteria.find((name) => !(name in marks));
  const failed = Object.values(marks).includes(false);
  const rows = state.criteria.map((name) => row(name, ["Pass", "Fail"], marks[name], name === open, (fine) => mark(name, fine)));
  if (!open && failed) rows.push(row("A critical failure?", ["No", "Yes"], critical, true, finish));
  at("rubric").className = "cases";
  for (const button of document.querySelectorAll(".undo")) button.disabled = !state.can_undo && !Object.keys(marks).length;
  at("rubric").replaceChildren(...rows);
}

function row(name, words, value, now, pressed) {
  const field = document.createElement("fieldset");
  field.classList.toggle("now", now);
  field.append(element("legend", name));
  words.forEach((word, place) => {
    const button = element("button", "", { type: "button", "aria-pressed": value === (place === 0) });
    if (now) button.append(element("kbd", String(place + 1)));
    button.append(word);
    button.classList.toggle("bad", place === 1);
    button.addEventListener("click", () => pressed(place === 0));
    field.append(button);
  });
  return field;
}

function mark(name, fine) {
  marks[name] = fine;
  critical = null;
  const complete = state.criteria.every((one) => one in marks);
  if (complete && Object.values(marks).every(Boolean)) finish(true);
  else rubricOfCase();
}

function finish(harmless) {
  critical = harmless;
  submit({ choice: "rated", criteria: marks, critical: !harmless }, "Saved.");
}

function press(place) {
  at("rubric").querySelectorAll(".now button")[place]?.click();
}

function back() {
  const given = Object.keys(marks);
  if (state.item && given.length) {
    delete marks[given[given.length - 1]];
    rubricOfCase();
  } else if (state.can_undo) {
    send("undo", {}, "Taken back.");
  }
}

// --- keys and buttons ---

const OF_PAIR = { 1: "left", ArrowLeft: "left", 2: "right", ArrowRight: "right", 0: "both good", 9: "both bad" };

document.addEventListener("keydown", (event) => {
  if (!state || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  const focused = document.activeElement;
  if (focused.id === "comment") {
    if (event.key === "Escape" || (event.key === "Enter" && !event.shiftKey)) {
      event.preventDefault();
      focused.blur();
    }
    return;
  }
  if (focused.id === "name" || (focused.type === "radio" && event.key.startsWith("Arrow"))) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const pairs = state.kind === "pair";
  if (key === "u" || key === "Backspace") back();
  else if (!state.item) return;
  else if (key === "s") choose("skip");
  else if (key === "c") at("comment").focus();
  else if (pairs && key in OF_PAIR) choose(OF_PAIR[key]);
  else if (!pairs && (key === "1" || key === "2")) press(Number(key) - 1);
  else return;
  event.preventDefault();
});

for (const button of at("choices").children) button.addEventListener("click", () => choose(button.dataset.choice));
for (const button of document.querySelectorAll(".undo")) button.addEventListener("click", back);
at("skip").addEventListener("click", () => choose("skip"));
at("who").addEventListener("click", () => {
  sessionStorage.removeItem(REMEMBERED);
  ask("");
});
at("begin").addEventListener("submit", (event) => {
  event.preventDefault();
  begin(at("name").value);
});

function ask(name) {
  state = null;
  for (const id of ["turn", "done", "far", "who"]) at(id).hidden = true;
  at("begin").hidden = false;
  at("name").value = name;
  at("name").focus();
  tell("");
}

async function begin(name) {
  rater = name;
  await send("next", {}, "");
  if (state) sessionStorage.setItem(REMEMBERED, state.rater);
}

function explain(about) {
  const pairs = about.kind === "pair";
  document.querySelector("#begin h1").textContent = pairs ? "Which answer is better?" : "Is the answer good enough?";
  at("about").textContent = pairs
    ? "You see a question and two answers, without knowing whose they are. Say which one you would rather have been given."
    : "You see a question and an answer. Say for each criterion whether it passes, and whether a failure is critical.";
  const keys = pairs
    ? [["1", "\u2190"], " left, ", ["2", "\u2192"], " right, ", ["0"], " both good, ", ["9"], " both bad, "]
    : [["1"], " pass, ", ["2"], " fail, "];
  for (const one of [...keys, ["C"], " comment (Enter ends it), ", ["S"], " skip, ", ["U"], " undo"]) {
    at("keys").append(...(Array.isArray(one) ? one.map((key) => element("kbd", key)) : [one]));
  }
}

call("begin", {})
  .then((about) => {
    explain(about);
    const name = sessionStorage.getItem(REMEMBERED) || about.rater;
    if (name) begin(name);
    else ask("");
  })
  .catch((error) => tell(error.message, true));
