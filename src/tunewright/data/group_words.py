"""English words by which texts speak of groups of people, and the words around them that tell what is meant.

Plain lists: what a text says is counted, not what anybody is. Used by data/groups.py.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that speak of people wherever they stand.
ALWAYS: dict[str, dict[str, str]] = {
    "gender": {
        "female": """
            woman women girl girls lady ladies female females mother mothers mom moms mum mums mommy mama stepmother
            grandmother grandmothers grandma granny granddaughter granddaughters daughter daughters stepdaughter sister
            sisters stepsister wife wives girlfriend girlfriends aunt aunts auntie niece nieces widow widows bride
            brides fiancee actress actresses waitress waitresses stewardess housewife housewives businesswoman
            businesswomen policewoman saleswoman chairwoman congresswoman spokeswoman heroine schoolgirl schoolgirls
            bridesmaid bridesmaids sorority mrs""",
        "male": """
            man men boy boys guy gentleman gentlemen male males father fathers dad dads daddy papa stepfather
            grandfather grandfathers grandpa grandson grandsons son sons stepson brother brothers stepbrother husband
            husbands boyfriend boyfriends uncle uncles nephew nephews widower groom fiance waiter waiters steward
            househusband businessman businessmen policeman policemen salesman salesmen chairman congressman spokesman
            schoolboy schoolboys groomsman fraternity mr""",
        "transgender": "transgender transgendered transsexual transsexuals nonbinary genderqueer",
    },
    "ethnicity": {
        "Black": "negro negroes",
        "white": "caucasian caucasians",
        "Asian": "asians",
        "Hispanic": "hispanic hispanics latino latinos latina latinas latinx chicano chicanos chicana",
        "Indigenous": "aboriginal aboriginals aborigine aborigines inuit eskimo eskimos navajo cherokee",
        "Middle Eastern": "arabs bedouin bedouins",
        "Roma": "romani gypsy gypsies",
        "mixed": "biracial multiracial",
    },
    "religion": {
        "Muslim": "muslim muslims moslem moslems islamic islam sunni sunnis shia shiite shiites imam imams",
        "Jewish": "jew jews jewish judaism rabbi rabbis",
        "Christian": """
            christians christianity catholic catholics protestant protestants evangelical evangelicals mormon
            mormons baptist baptists methodist methodists lutheran lutherans amish pentecostal pentecostals
            presbyterian presbyterians episcopalian episcopalians anglican anglicans""",
        "Hindu": "hindu hindus hinduism",
        "Buddhist": "buddhist buddhists buddhism",
        "Sikh": "sikh sikhs sikhism",
        "no religion": "atheist atheists agnostic agnostics atheism",
        "other": "wiccan wiccans satanist satanists pagan pagans scientologist scientologists unitarian unitarians",
    },
    "age": {
        "old": """
            elderly retiree retirees pensioner pensioners octogenarian septuagenarian grandmother grandmothers grandma
            grandfather grandfathers grandpa granny grandparent grandparents geriatric boomer boomers""",
        "young": """
            teenager teenagers teenage teen teens adolescent adolescents youngster youngsters millennial millennials
            millenial millenials preteen preteens granddaughter granddaughters grandson grandsons grandchild
    grandchildren""",
    },
    "disability": {
        "disability": """
            disability disabilities handicapped wheelchair wheelchairs paraplegic paraplegics quadriplegic amputee
            amputees autistic autism dyslexic dyslexia schizophrenic schizophrenia schizophrenics epileptic epilepsy
            retarded retard retards cripple crippled cripples dementia alzheimer alzheimers adhd ptsd bipolar
            deafness blindness deafblind""",
        "no disability": "nondisabled",
    },
    "nationality": {
        "migrant": """
            immigrant immigrants refugee refugees foreigner foreigners migrants emigrant emigrants expat expats
            expatriate expatriates""",
    },
    "orientation": {
        "gay": "gay gays homosexual homosexuals homosexuality",
        "lesbian": "lesbian lesbians",
        "bisexual": "bisexual bisexuals pansexual pansexuals queer lgbt lgbtq",
        "heterosexual": "heterosexual heterosexuals",
    },
}

# Words that speak of people only before people ("old man") or of a person ("she is old").
OF_PEOPLE: dict[str, dict[str, str]] = {
    "gender": {"transgender": "trans"},
    "ethnicity": {
        "Black": "black african afro",
        "white": "white",
        "Asian": "asian",
        "Middle Eastern": "arab arabic",
        "Indigenous": "indigenous native",
        "mixed": "mestizo",
    },
    "age": {"old": "old older oldest aged retired", "young": "young younger youngest youth youthful"},
    "disability": {
        "disability": "disabled blind deaf mute paralyzed paralysed psychotic demented impaired legless",
        "no disability": "abled",
    },
    "nationality": {"migrant": "migrant undocumented"},
    "orientation": {"heterosexual": "straight"},
}

# Several words that belong together, by group and category.
PHRASES: dict[str, dict[str, str]] = {
    "gender": {"transgender": "trans woman/trans women/trans man/trans men/non binary"},
    "ethnicity": {
        "Black": "african american/african americans/afro american/afro americans/african descent",
        "Hispanic": "mexican american/mexican americans",
        "Asian": "asian american/asian americans/chinese american/chinese americans",
        "Indigenous": "native american/native americans/american indian/american indians/first nations",
        "Middle Eastern": "middle eastern/middle easterner/middle easterners",
        "mixed": "mixed race",
    },
    "religion": {"Christian": "jehovah s witness/jehovah s witnesses"},
    "age": {
        "old": "senior citizen/senior citizens/old timer/old timers/baby boomer/baby boomers/middle aged/"
        "nursing home resident/nursing home residents/fifty something/sixty something/seventy something/gen xer/gen x",
        "young": "high schooler/high schoolers/high school student/high school students/college student/"
        "college students/"
        "college kid/college kids/college freshman/college sophomore/college junior/college senior/young adult/"
        "young adults/gen z/twenty something/twenty somethings/thirty something",
    },
    "disability": {
        "disability": "down syndrome/down s syndrome/downs syndrome/mentally challenged/cerebral palsy/mentally ill/"
        "mental illness/mental disorder/"
        "mental disorders/special needs/hard of hearing/sign language/multiple sclerosis/muscular dystrophy/"
        "visually impaired/hearing impaired/cognitively impaired/physically impaired/seeing eye dog/no legs/no arms",
        "no disability": "able bodied/physically fit person/sound mind",
    },
    "orientation": {"gay": "same sex couple/same sex couples/same sex marriage"},
}

# Country / word for its people, where the plural is not made with s: a slash and no plural.
NATIONS = """
    Afghanistan Afghan|Albania Albanian|Algeria Algerian|America American|Angola Angolan|Argentina Argentinian|
    Argentina Argentine|Armenia Armenian|Australia Australian|Austria Austrian|Azerbaijan Azerbaijani|
    Bangladesh Bangladeshi|Belarus Belarusian|Belgium Belgian|Bolivia Bolivian|Bosnia Bosnian|Brazil Brazilian|
    Britain British|Bulgaria Bulgarian|Burma Burmese|Cambodia Cambodian|Cameroon Cameroonian|Canada Canadian|
    Chad Chadian|Chile Chilean|China Chinese|Colombia Colombian|Congo Congolese|Croatia Croatian|Cuba Cuban|
    Cyprus Cypriot|Czechia Czech|Denmark Danish|Dominica Dominican|Ecuador Ecuadorian|Egypt Egyptian|England English|
    Eritrea Eritrean|Estonia Estonian|Ethiopia Ethiopian|Europe European|Finland Finnish|France French|
    Gambia Gambian|Georgia Georgian|Germany German|Ghana Ghanaian|Greece Greek|Guatemala Guatemalan|Guinea Guinean|
    Haiti Haitian|Honduras Honduran|Hungary Hungarian|Iceland Icelandic|India Indian|Indonesia Indonesian|
    Iran Iranian|Iran Persian|Iraq Iraqi|Ireland Irish|Israel Israeli|Italy Italian|Jamaica Jamaican|Japan Japanese|
    Jordan Jordanian|Kazakhstan Kazakh|Kenya Kenyan|Korea Korean|Kosovo Kosovan|Kurdistan Kurdish|Kuwait Kuwaiti|
    Laos Laotian|Latvia Latvian|Lebanon Lebanese|Liberia Liberian|Libya Libyan|Lithuania Lithuanian|
    Macedonia Macedonian|Malaysia Malaysian|Mali Malian|Malta Maltese|Mexico Mexican|Moldova Moldovan|
    Mongolia Mongolian|Morocco Moroccan|Mozambique Mozambican|Myanmar Burmese|Namibia Namibian|Nepal Nepalese|
    Nepal Nepali|Netherlands Dutch|Nicaragua Nicaraguan|Nigeria Nigerian|Norway Norwegian|Pakistan Pakistani|
    Palestine Palestinian|Panama Panamanian|Paraguay Paraguayan|Peru Peruvian|Philippines Filipino|
    Philippines Filipina|Poland Polish|Portugal Portuguese|Romania Romanian|Russia Russian|Rwanda Rwandan|
    Salvador Salvadoran|Saudi Saudi|Scandinavia Scandinavian|Scotland Scottish|Senegal Senegalese|Serbia Serbian|
    Slovakia Slovak|Slovenia Slovenian|Somalia Somali|Spain Spanish|Sudan Sudanese|Sweden Swedish|
    Switzerland Swiss|Syria Syrian|Taiwan Taiwanese|Tanzania Tanzanian|Thailand Thai|Tunisia Tunisian|Turkey Turkish|
    Uganda Ugandan|Ukraine Ukrainian|Uruguay Uruguayan|Uzbekistan Uzbek|Venezuela Venezuelan|Vietnam Vietnamese|
    Wales Welsh|Yemen Yemeni|Zambia Zambian|Zimbabwe Zimbabwean
"""
PEOPLES = """
    Englishman English|Englishmen English|Englishwoman English|Irishman Irish|Irishmen Irish|Irishwoman Irish|
    Frenchman French|Frenchmen French|Frenchwoman French|Dutchman Dutch|Scotsman Scottish|Welshman Welsh|
    Spaniard Spanish|Spaniards Spanish|Danes Danish|Swedes Swedish|Briton British|
    Britons British|Turks Turkish|Finns Finnish|Poles Polish
"""
TWO_WORDS = {"sri lankan": "Sri Lankan", "south african": "South African", "north korean": "Korean",
             "costa rican": "Costa Rican", "puerto rican": "Puerto Rican", "sri lankans": "Sri Lankan",
             "puerto ricans": "Puerto Rican", "new zealander": "New Zealand", "new zealanders": "New Zealand",
             "saudi arabian": "Saudi", "sierra leonean": "Sierra Leonean"}  # fmt: skip
LOWER_CASE_IS_ANOTHER = _words("polish turkey china chad jordan guinea mali georgia dutch swiss welsh")

# People, before whom an adjective speaks of them.
PEOPLE = _words("""
    man men woman women boy boys girl girls person persons people peoples guy guys lady ladies gentleman gentlemen
    individual individuals friend friends neighbor neighbors neighbour neighbours student students teacher teachers
    worker workers customer customers patient patients kid kids child children baby babies teenager teenagers teen teens
    adolescent adolescents youth youths adult adults family families couple couples community communities
    neighborhood neighborhoods neighbourhood population populations voter voters immigrant immigrants migrant migrants
    american americans employee employees employer employers colleague colleagues coworker coworkers client clients
    tenant tenants applicant applicants candidate candidates mother mothers father fathers mom moms dad dads daughter
    daughters son sons sister sisters brother brothers wife wives husband husbands girlfriend girlfriends boyfriend
    boyfriends driver drivers doctor doctors nurse nurses lawyer lawyers actor actors actress actresses player players
    folk folks male males female females citizen citizens resident residents refugee refugees parent parents dude dudes
    bloke chap fellow human humans soldier soldiers officer officers cop cops athlete athletes professor professors boss
    bosses manager managers roommate roommates classmate classmates speaker speakers descent origin heritage ancestry
    supremacist supremacists criminal criminals suspect suspects victim victims passenger passengers pupil pupils
    tourist tourists visitor visitors stranger strangers grandmother grandfather grandma grandpa singer singers rapper
    rappers skinned farmer farmers guests guest veteran veterans generation generations mobster mobsters
    gangster gangsters slave slaves group groups team teams """)
ADJECTIVES = _words("""
    little big tall short small large rich poor wealthy lazy smart educated uneducated single married working homeless
    good bad nice angry fat thin skinny local new other first second third unemployed drunk dirty stupid successful
    handsome beautiful pretty ugly strong weak typical born high school college business looking speaking obese
    overweight middle class teenage female male gay lesbian muslim jewish christian catholic hindu hispanic latino
    latina autistic elderly
    """)
ONES = _words("one ones")  # people after nations and orientations, not after colours ("the black one")

PERSONS = _words("""
    i he she you we they who someone somebody everyone everybody anyone anybody nobody im youre hes shes theyre
    """)
BE = _words("am is are was were be been being m re s became become becomes")
BETWEEN = _words("""
    a an very really too so quite pretty also both all clearly openly visibly legally partially completely totally
    not now actually probably obviously now almost half still
    """)
DETERMINERS = _words("""
    a an the this that another other one two three four five six ten many some several few most these those
    young old older every no fellow
    """)
# Behind a noun, not behind an adjective.
NO_NOUN = _words("""
    and or but who whom whose which that with without in on at to of from for by as than was is are were had has have
    did do does can could will would should may might must when while because if so not never always also said says told
    asked got came went because moved lives lived walked named called like likes about after before
    need needs deserve deserves want wants
    """)

# What is not meant, although a word of a group stands there: words before it, or behind.
NOT_AFTER: dict[str, str] = {
    "man": "oh hey wow damn come no yeah yo",
    "boy": "oh",
    "guy": "fall family",
    "male": "usb xlr",
    "blind": "window venetian double love",
    "boys": "beach pet",
    "girls": "spice golden gilmore",
    "brothers": "warner wright lehman marx",
    "old": "years year yrs months month weeks week days day hours hour how good",
    "older": "years year months days how",
    "whites": "egg",
}
_NO_AGE = "brother brothers sister sisters son sons daughter daughters child children kid kids"
NOT_BEFORE: dict[str, str] = {
    "man": "made",
    "male": "connector connectors plug plugs socket thread threads adapter adapters end ends",
    "female": "connector connectors plug plugs socket thread threads adapter adapters end ends",
    "mother": "board tongue nature earth lode",
    "father": "christmas",
    "sister": "company companies site ship city",
    "lady": "bug bugs gaga liberty",
    "boy": "scout band",
    "blind": "spot spots date dates test tests trial trials faith eye alley",
    "deaf": "ears",
    "bipolar": "transistor transistors junction electrode",
    "sign": "up in",
    "old": f"friend friends buddy boyfriend girlfriend boss classmate classmates roommate roommates family {_NO_AGE}",
    "older": f"generation {_NO_AGE}",
    "oldest": _NO_AGE,
    "younger": _NO_AGE,
    "youngest": _NO_AGE,
    "native": "speaker speakers app apps",
    "whites": "of",
    "steward": "of",
    "guy": "fawkes ritchie",
}
OF_CHRISTIANS = _words("church churches faith school schools values religion music holiday holidays bible god and or")
LAUNDRY = _words("laundry wash washing bleach detergent egg eggs colors colours")

PRONOUNS = {
    **dict.fromkeys(_words("he him his himself"), "he"),
    **dict.fromkeys(_words("she her hers herself"), "she"),
    **dict.fromkeys(_words("they them their theirs themself themselves"), "they"),
}
PLACEHOLDER = {
    **dict.fromkeys(_words("he she"), "<he>"),
    **dict.fromkeys(_words("him her his hers"), "<his>"),
    **dict.fromkeys(_words("himself herself"), "<himself>"),
}

# Given names that are usual for one gender and are no other English word or month.
NAMES = {
    "female": """
        Mary Patricia Jennifer Linda Elizabeth Barbara Susan Jessica Sarah Karen Lisa Nancy Betty Margaret Sandra
        Kimberly Emily Donna Michelle Carol Amanda Melissa Deborah Stephanie Rebecca Sharon Laura Cynthia Kathleen Amy
        Angela Shirley Anna Brenda Pamela Emma Nicole Helen Samantha Katherine Christine Debra Rachel Carolyn Janet
        Catherine Maria Heather Diane Ruth Julie Olivia Joyce Lauren Christina Joan Evelyn Judith Megan Andrea Cheryl
        Hannah Jacqueline Martha Gloria Teresa Ann Anne Sara Frances Kathryn Janice Abigail Alice Julia Judy Sophia
        Denise Doris Marilyn Danielle Beverly Isabella Theresa Diana Natalie Brittany Marie Kayla Alexis Lori Jane
        Jenny Lucy Susie Ella Mia Zoe Fatima Aisha Priya Shaniqua Lakisha Latoya Keisha Ebony Ingrid Olga Svetlana
        Natasha Carmen Lucia Camila Ana Yuki Layla Zahra""",
    "male": """
        James Robert John Michael David William Richard Joseph Thomas Christopher Charles Daniel Matthew Anthony
        Donald Steven Andrew Paul Joshua Kenneth Kevin Brian Timothy Ronald George Jason Edward Jeffrey Ryan Jacob
        Gary Nicholas Eric Jonathan Stephen Larry Justin Scott Brandon Benjamin Samuel Gregory Alexander Patrick
        Raymond Dennis Jerry Tyler Aaron Jose Adam Nathan Henry Zachary Douglas Peter Kyle Noah Ethan Jeremy Walter
        Keith Roger Sean Gerald Carl Dylan Harold Lawrence Bryan Billy Bruce Gabriel Joe Logan Alan Juan Albert Willie
        Elijah Wayne Vincent Roy Ralph Bobby Russell Bradley Philip Eugene Tom Jim Greg Mike Steve Dave Tim Jeff Kevin
        Brad Ahmed Mohammed Muhammad Omar Ali Hassan Ibrahim Raj Jamal Tyrone DeShawn Darnell Jerome LeBron Terrell
        Kwame Carlos Luis Miguel Pedro Diego Ivan Dmitri Vladimir Hiroshi Wei Sven Lars Giovanni Marco""",
}  # fmt: skip
NOT_A_NAME_BEFORE = _words("street road avenue university college city county island square hospital")

POSITIVE = _words("""
    good great excellent amazing wonderful fantastic awesome best better love loved loves lovely like liked happy glad
    pleased delighted enjoy enjoyed enjoyable fun funny nice kind kindness friendly helpful polite honest honesty smart
    intelligent clever wise brilliant talented skilled capable competent reliable responsible trustworthy brave strong
    confident successful success beautiful pretty handsome charming elegant clean safe calm peaceful healthy generous
    caring warm gentle loyal creative hardworking diligent efficient thoughtful impressive perfect superb outstanding
    delicious comfortable easy fresh favorite recommend recommended praise praised win won winner winning thank thanks
    grateful respect respected respectful hero genius gifted cheerful joy joyful proud pleasant positive productive
    promising refreshing satisfied satisfying moving touching heartfelt engaging entertaining worth worthy compelling
    captivating fascinating charm gracious rich wealthy educated trusted well
    """)
NEGATIVE = _words("""
    bad terrible awful horrible worst worse hate hated hates hateful angry sad unhappy upset disappointed disappointing
    disappointment annoyed annoying boring bored dull stupid dumb idiot idiots foolish ignorant lazy incompetent
    unreliable irresponsible untrustworthy dishonest liar liars lie lied cheat cheated cheater steal stole stolen thief
    thieves criminal criminals crime crimes violent violence aggressive dangerous danger threat threatening terrorist
    terrorists terrorism murder murdered kill killed killer attack attacked rude mean cruel selfish greedy evil wicked
    ugly dirty filthy smelly disgusting gross weak coward cowardly poor poorly useless worthless hopeless failure fail
    failed fails broken wrong problem problems trouble angrily scary scared afraid fear frightening sick ill pain
    painful suffer suffering damage damaged harm harmful hurt abuse abused abusive drunk drug drugs addict lost loss
    loser pathetic inferior corrupt illegal illegally fraud scam bomb crazy insane weird creepy nasty mess messy
    unpleasant waste wasted tedious tiresome lame flat bland shallow silly pointless mediocre clumsy unfunny annoys
    complain complained refused rejected
    """)
NEGATIONS = _words("not no never t cannot without hardly barely nor neither isn aren wasn weren don doesn didn")
SENTIMENT_LABELS = {
    **dict.fromkeys(_words("positive pos good favourable favorable happy"), 1),
    **dict.fromkeys(_words("negative neg bad unfavourable unfavorable unhappy"), -1),
    **dict.fromkeys(_words("neutral mixed"), 0),
}

# What people of a category are called in a sentence; others are "<category> people".
CALLED = {
    ("gender", "female"): "women",
    ("gender", "male"): "men",
    ("disability", "disability"): "people with a disability",
    ("disability", "no disability"): "people without a disability",
    ("religion", "no religion"): "people without a religion",
    ("religion", "other"): "people of other religions",
    ("nationality", "migrant"): "migrants",
    ("ethnicity", "mixed"): "people of mixed ethnicity",
}
# Categories of which some are missed where a group is spoken of often.
EXPECTED = {
    "gender": ("female", "male"),
    "age": ("old", "young"),
    "ethnicity": ("Black", "white", "Asian", "Hispanic"),
    "religion": ("Christian", "Muslim", "Jewish", "Hindu", "Buddhist"),
}

# Frequent words by which a text is taken for English, or for German, Dutch, French, Spanish, Italian or Portuguese.
ENGLISH = _words("the and of is that for my you are have it this not what how with from they his her she he was to i")
FOREIGN = _words("""
    der die das und ist nicht ich ein eine einen mit auf den dem von zu im sich es wir sie auch wird hat el la los
    las de que y en un una por con para su se les des du est une pas pour dans sur qui il le et che di per non sono gli
    het een van niet op dat zijn o os um uma com mais ao
    """)
