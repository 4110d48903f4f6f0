"""Words of groups of people, in English: what a counterfactual swap puts in the place of what."""

from __future__ import annotations


def _of(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words of men and of women that mean the same. Words with other meanings (king, groom, master) are left out.
GENDERED = (
    ("he", "she"), ("himself", "herself"), ("man", "woman"), ("men", "women"), ("boy", "girl"), ("boys", "girls"),
    ("gentleman", "lady"), ("gentlemen", "ladies"), ("father", "mother"),
    ("fathers", "mothers"), ("dad", "mom"), ("dads", "moms"), ("daddy", "mommy"), ("papa", "mama"), ("son", "daughter"),
    ("sons", "daughters"), ("brother", "sister"), ("brothers", "sisters"), ("husband", "wife"), ("husbands", "wives"),
    ("grandfather", "grandmother"), ("grandfathers", "grandmothers"), ("grandpa", "grandma"),
    ("grandson", "granddaughter"), ("grandsons", "granddaughters"), ("uncle", "aunt"), ("uncles", "aunts"),
    ("nephew", "niece"), ("nephews", "nieces"), ("stepfather", "stepmother"), ("stepson", "stepdaughter"),
    ("father-in-law", "mother-in-law"), ("brother-in-law", "sister-in-law"), ("son-in-law", "daughter-in-law"),
    ("boyfriend", "girlfriend"), ("boyfriends", "girlfriends"), ("widower", "widow"), ("bachelor", "bachelorette"),
    ("waiter", "waitress"), ("waiters", "waitresses"), ("actor", "actress"), ("actors", "actresses"),
    ("salesman", "saleswoman"), ("salesmen", "saleswomen"), ("businessman", "businesswoman"),
    ("businessmen", "businesswomen"), ("policeman", "policewoman"), ("policemen", "policewomen"),
    ("fireman", "firewoman"), ("chairman", "chairwoman"), ("spokesman", "spokeswoman"),
    ("congressman", "congresswoman"), ("sir", "madam"), ("male", "female"), ("males", "females"),
    ("masculine", "feminine"), ("fatherhood", "motherhood"), ("manhood", "womanhood"), ("mr", "ms"),
    ("lad", "lass"), ("cowboy", "cowgirl"),
)  # fmt: skip
ALSO_FEMALE = {"mrs": "mr", "miss": "mr", "mum": "dad", "mums": "dads", "mummy": "daddy", "ma'am": "sir"}

# First names by origin: the n-th of one origin and gender stands for the n-th of another. No name is in two lists, and
# none is a word (Grace, Mark, Will).
NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "white": {
        "male": (
            "James", "John", "Robert", "Michael", "William", "David", "Richard", "Thomas", "Charles", "Daniel",
            "Matthew", "Andrew", "Paul", "Steven", "Kevin", "Brian", "George", "Edward", "Greg", "Scott", "Brad",
            "Adam", "Peter", "Henry",
        ),
        "female": (
            "Mary", "Jennifer", "Elizabeth", "Linda", "Barbara", "Susan", "Jessica", "Sarah", "Karen", "Nancy",
            "Emily", "Anna", "Laura", "Emma", "Katherine", "Anne", "Julia", "Alice", "Amanda", "Rachel", "Molly",
            "Claire", "Helen", "Margaret",
        ),
    },
    "Black": {
        "male": (
            "Jamal", "DeShawn", "Tyrone", "Darnell", "Leroy", "Terrell", "Malik", "Marquel", "Tremayne", "Jermaine",
            "Rasheed", "Kareem", "Lamar", "Deandre", "Trevon", "Tyree", "Kwame", "Demetrius", "Jalen", "Marlon",
            "Kofi", "Daquan", "Antwan", "Reginald",
        ),
        "female": (
            "Lakisha", "Latoya", "Shonda", "Keisha", "Tamika", "Shanice", "Aaliyah", "Tanisha", "Imani", "Latisha",
            "Shaniqua", "Nia", "Kenyatta", "Tawanda", "Deja", "Kiara", "Ayana", "Monique", "Tyra", "Yolanda",
            "Amara", "Shaquana", "Tanika", "Ashanti",
        ),
    },
    "Hispanic": {
        "male": (
            "Jose", "Juan", "Luis", "Carlos", "Jorge", "Miguel", "Pedro", "Alejandro", "Javier", "Diego", "Santiago",
            "Fernando", "Ricardo", "Eduardo", "Raul", "Sergio", "Pablo", "Enrique", "Hector", "Rafael", "Alberto",
            "Andres", "Mateo", "Rodrigo",
        ),
        "female": (
            "Maria", "Guadalupe", "Juana", "Rosa", "Lucia", "Carmen", "Isabella", "Sofia", "Valentina", "Camila",
            "Gabriela", "Alejandra", "Esperanza", "Ximena", "Daniela", "Catalina", "Mariana", "Elena", "Ana",
            "Adriana", "Beatriz", "Consuelo", "Yesenia", "Paloma",
        ),
    },
    "Asian": {
        "male": (
            "Wei", "Hiroshi", "Kenji", "Minh", "Junichi", "Takeshi", "Xiang", "Haruto", "Jian", "Tuan", "Akira", "Bao",
            "Cheng", "Daisuke", "Feng", "Guang", "Huan", "Isamu", "Jin", "Kazuo", "Liang", "Makoto", "Nobu", "Quan",
        ),
        "female": (
            "Mei", "Yuki", "Ling", "Sakura", "Xiu", "Hana", "Linh", "Ayumi", "Fenfang", "Huong", "Keiko", "Lihua",
            "Michiko", "Naoko", "Qing", "Reiko", "Suki", "Thuy", "Xia", "Yan", "Zhen", "Chiyo", "Emiko", "Jiao",
        ),
    },
    "Arab": {
        "male": (
            "Mohammed", "Ahmed", "Omar", "Ali", "Hassan", "Khalid", "Ibrahim", "Youssef", "Abdullah", "Mustafa",
            "Karim", "Tariq", "Samir", "Rashid", "Faisal", "Bilal", "Hamza", "Nasser", "Walid", "Zaid", "Jamil",
            "Anwar", "Idris", "Salim",
        ),
        "female": (
            "Fatima", "Aisha", "Zainab", "Layla", "Maryam", "Khadija", "Noor", "Yasmin", "Salma", "Amina", "Hala",
            "Rania", "Samira", "Zahra", "Leila", "Huda", "Nadia", "Rasha", "Safiya", "Dalia", "Farah", "Iman",
            "Jamila", "Lina",
        ),
    },
    "Indian": {
        "male": (
            "Raj", "Arjun", "Vikram", "Sanjay", "Amit", "Rahul", "Anil", "Suresh", "Ravi", "Vijay", "Rohan", "Ashok",
            "Deepak", "Gopal", "Harish", "Krishnan", "Manoj", "Naveen", "Pradeep", "Rajesh", "Sunil", "Tarun",
            "Uday", "Vivek",
        ),
        "female": (
            "Priya", "Anjali", "Lakshmi", "Sunita", "Deepa", "Kavita", "Meera", "Neha", "Pooja", "Radha", "Sita",
            "Usha", "Asha", "Divya", "Geeta", "Indira", "Jaya", "Kamala", "Lata", "Nisha", "Padma", "Rekha",
            "Shanti", "Vidya",
        ),
    },
}  # fmt: skip

# Terms of a group by what they say: the adjective, one of them as a noun, several of them.
TERMS: dict[str, dict[str, tuple[str, str | None, str | None]]] = {
    "ethnicity": {
        "white": ("white", None, None),
        "Black": ("Black", None, None),
        "Hispanic": ("Hispanic", "Hispanic", "Hispanics"),
        "Asian": ("Asian", "Asian", "Asians"),
        "Arab": ("Arab", "Arab", "Arabs"),
        "Indian": ("Indian", "Indian", "Indians"),
    },
    "nationality": {
        "American": ("American", "American", "Americans"),
        "Mexican": ("Mexican", "Mexican", "Mexicans"),
        "German": ("German", "German", "Germans"),
        "Polish": ("Polish", "Pole", "Poles"),
        "Nigerian": ("Nigerian", "Nigerian", "Nigerians"),
        "Pakistani": ("Pakistani", "Pakistani", "Pakistanis"),
        "Russian": ("Russian", "Russian", "Russians"),
        "Turkish": ("Turkish", "Turk", "Turks"),
    },
    "religion": {
        "Christian": ("Christian", "Christian", "Christians"),
        "Muslim": ("Muslim", "Muslim", "Muslims"),
        "Jewish": ("Jewish", "Jew", "Jews"),
        "Hindu": ("Hindu", "Hindu", "Hindus"),
        "Buddhist": ("Buddhist", "Buddhist", "Buddhists"),
        "atheist": ("atheist", "atheist", "atheists"),
    },
    "age": {
        "young": ("young", "youngster", "youngsters"),
        "old": ("old", "pensioner", "pensioners"),
    },
    "disability": {
        "disabled": ("disabled", None, None),
        "non-disabled": ("non-disabled", None, None),
    },
}
OTHER_TERMS: dict[str, dict[str, tuple[str, str]]] = {  # pairs of adjectives beside those: category of each side
    "age": {"younger": ("young", "older"), "older": ("old", "younger"), "elderly": ("old", "young")},
    "disability": {
        "blind": ("disabled", "sighted"), "sighted": ("non-disabled", "blind"), "deaf": ("disabled", "hearing"),
        "hearing": ("non-disabled", "deaf"), "autistic": ("disabled", "non-autistic"),
        "non-autistic": ("non-disabled", "autistic"),
    },
}  # fmt: skip

# Behind one of these an adjective speaks of people: a black man, but not a black card.
PEOPLE = _of(
    "man woman men women person people boy boys girl girls guy guys gentleman lady ladies kid kids child children "
    "adult adults teenager teenagers student students teacher teachers worker workers colleague colleagues employee "
    "employees manager neighbor neighbors neighbour neighbours friend friends family families couple couples mother "
    "father mothers fathers parent parents son daughter brother sister husband wife girlfriend boyfriend customer "
    "customers client clients patient patients user users driver drivers candidate candidates applicant applicants "
    "immigrant immigrants refugee refugees citizen citizens voter voters resident residents tourist tourists American "
    "Americans community communities population male males female females doctor nurse lawyer engineer officer "
    "soldier veteran author writer artist"
)
PLACES = _of("street st road rd avenue ave lane hospital university college school airport bank")
SAINTS = _of("san santa saint st")  # behind these a name is one of a place
PERSONS = _of("i he she you we they who everyone someone")
BE = _of("am is are was were be been being become became")
BETWEEN = _of("a an the not very also quite devout practicing practising openly")
# Behind these "her" is no owner ("I told her that"), and "his" speaks of what was named before ("the card is his and").
NO_NOUN = _of(
    "a an the this that these those to in on at by for from with without of about into onto over under after before "
    "and or but nor so because since while when where why how what who whom which if whether though although than as "
    "is was are were be been has have had do does did will would can could should may might must not it he she they "
    "we you i him them us me again too also back up down out off away here there today tomorrow yesterday now then "
    "yet already anymore please every everything something nothing some any all both"
)
