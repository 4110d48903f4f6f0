"""Small closed lists that the rules look words up in: countries, peoples, titles, kinds of streets and of companies."""

from __future__ import annotations

import re


def _lines(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in re.split(r"[,\n]", text) if word.strip())


COUNTRIES = _lines("""
Afghanistan, Albania, Algeria, Andorra, Angola, Antigua and Barbuda, Argentina, Armenia, Australia, Austria, Azerbaijan
Bahamas, Bahrain, Bangladesh, Barbados, Belarus, Belgium, Belize, Benin, Bhutan, Bolivia, Bosnia, Bosnia and Herzegovina
Botswana, Brazil, Brunei, Bulgaria, Burkina Faso, Burundi, Cambodia, Cameroon, Canada, Cape Verde, Chad, Chile, China
Colombia, Comoros, Congo, Costa Rica, Croatia, Cuba, Cyprus, Czechia, Czech Republic, Denmark, Djibouti, Dominica
Dominican Republic, East Timor, Ecuador, Egypt, El Salvador, Equatorial Guinea, Eritrea, Estonia, Eswatini, Ethiopia
Fiji, Finland, France, Gabon, Gambia, Germany, Ghana, Greece, Greenland, Grenada, Guatemala, Guinea, Guinea-Bissau
Guyana, Haiti, Honduras, Hungary, Iceland, India, Indonesia, Iran, Iraq, Ireland, Israel, Italy, Ivory Coast, Jamaica
Japan, Kazakhstan, Kenya, Kiribati, Kosovo, Kuwait, Kyrgyzstan, Laos, Latvia, Lebanon, Lesotho, Liberia, Libya
Liechtenstein, Lithuania, Luxembourg, Madagascar, Malawi, Malaysia, Maldives, Mali, Malta, Marshall Islands, Mauritania
Mauritius, Mexico, Micronesia, Moldova, Monaco, Mongolia, Montenegro, Morocco, Mozambique, Myanmar, Burma, Namibia
Nauru, Nepal, Netherlands, Holland, New Zealand, Nicaragua, Niger, Nigeria, North Korea, North Macedonia, Macedonia
Norway, Oman, Pakistan, Palau, Palestine, Panama, Papua New Guinea, Paraguay, Peru, Philippines, Poland, Portugal, Qatar
Romania, Russia, Russian Federation, Rwanda, Saint Lucia, Samoa, San Marino, Saudi Arabia, Senegal, Serbia, Seychelles
Sierra Leone, Singapore, Slovakia, Slovenia, Solomon Islands, Somalia, South Africa, South Korea, Korea, South Sudan
Spain, Sri Lanka, Sudan, Suriname, Sweden, Switzerland, Syria, Taiwan, Tajikistan, Tanzania, Thailand, Togo, Tonga
Trinidad and Tobago, Tunisia, Turkey, Turkiye, Turkmenistan, Tuvalu, Uganda, Ukraine, United Arab Emirates
United Kingdom, Great Britain, Britain, England, Scotland, Wales, Northern Ireland, United States
United States of America, Uruguay, Uzbekistan, Vanuatu, Vatican City, Venezuela, Vietnam, Viet Nam, Yemen, Zambia
Zimbabwe, Hong Kong, Macau, Puerto Rico, Guam, Faroe Islands, Gibraltar, Bermuda, Deutschland, Espagne, Italia, Suisse
Schweiz, Belgique, Nederland, Danmark, Norge, Sverige, Suomi, Polska, Brasil
""")
COUNTRY_CODES = _lines("US, USA, UK, EU, UAE, U.S., U.S.A., U.K., NZ")
PEOPLES = _lines("""
Afghan, African, Albanian, Algerian, American, Andorran, Angolan, Arab, Argentine, Argentinian, Armenian, Asian, Aussie
Australian, Austrian, Azerbaijani, Bahamian, Bahraini, Bangladeshi, Barbadian, Basque, Belarusian, Belgian, Belizean
Belizian, Beninese, Bhutanese, Bolivian, Bosnian, Botswanan, Brazilian, British, Briton, Bruneian, Bulgarian, Burmese
Burundian, Cambodian, Cameroonian, Canadian, Catalan, Chadian, Chechen, Chilean, Chinese, Colombian, Congolese
Costa Rican, Croatian, Croat, Cuban, Cypriot, Czech, Dane, Danish, Dominican, Dutch, Dutchman, Ecuadorean, Ecuadorian
Egyptian, English, Englishman, Englishwoman, Eritrean, Estonian, Ethiopian, European, Fijian, Filipino, Finn, Finnish
French, Frenchman, Frenchwoman, Gabonese, Gambian, Georgian, German, Ghanaian, Greek, Greenlander, Greenlandic
Grenadian, Guatemalan, Guinean, Guyanese, Haitian, Hispanic, Honduran, Hungarian, Icelander, Icelandic, Indian
Indonesian, Iranian, Iraqi, Irish, Irishman, Israeli, Italian, Ivorian, Jamaican, Japanese, Jordanian, Kazakh, Kenyan
Korean, Kosovar, Kurd, Kurdish, Kuwaiti, Kyrgyz, Lao, Laotian, Latino, Latina, Latvian, Lebanese, Liberian, Libyan
Lithuanian, Luxembourgish, Macedonian, Malagasy, Malawian, Malaysian, Maldivian, Malian, Maltese, Maori, Mauritian
Mexican, Moldovan, Mongolian, Montenegrin, Moroccan, Mozambican, Namibian, Nepalese, Nepali, New Zealander, Nicaraguan
Nigerian, Norwegian, Omani, Pakistani, Palestinian, Panamanian, Paraguayan, Persian, Peruvian, Pole, Polish, Portuguese
Qatari, Romanian, Roma, Russian, Rwandan, Salvadoran, Samoan, Saudi, Scandinavian, Scot, Scottish, Senegalese, Serb
Serbian, Singaporean, Slovak, Slovakian, Slovene, Slovenian, Somali, Spaniard, Spanish, Sudanese, Surinamese, Swede
Swedish, Swiss, Syrian, Taiwanese, Tajik, Tamil, Tanzanian, Thai, Tibetan, Togolese, Tongan, Tunisian, Turk, Turkish
Ugandan, Ukrainian, Uruguayan, Uzbek, Venezuelan, Vietnamese, Welsh, Yemeni, Zambian, Zimbabwean
Anglican, Atheist, Baptist, Buddhist, Catholic, Christian, Evangelical, Hindu, Jew, Jewish, Lutheran, Methodist, Mormon
Muslim, Orthodox, Protestant, Quaker, Shia, Shii, Shiite, Sikh, Sunni, Communist, Democrat, Republican, Socialist
""")  # of which those that are English words or names too are told by context
UNSURE_PEOPLES = _lines(
    "Pole, Polish, Lao, Orthodox, Georgian, Turk, Christian, Roma, Democrat, Republican, Scot, Finn"
)
TITLES = _lines("""
Mr, Mrs, Ms, Miss, Mx, Mister, Missus, Dr, Doctor, Prof, Professor, Sir, Madam, Ma'am, Lady, Lord, Dame, Rev, Reverend
Father, Sister, Brother, Fr, Hon, Judge, Senator, Sen, Rep, Gov, Governor, President, Captain, Capt, Colonel, Col
General, Gen, Lieutenant, Lt, Sergeant, Sgt, Major, Maj, Officer, Herr, Frau, Monsieur, Madame, Mademoiselle, Mme, Mlle
Se\u00f1or, Se\u00f1ora, Se\u00f1orita, Senor, Senora, Sr, Sra, Srta, Signor, Signora, Signore, Sig, Don, Do\u00f1a
Dona, Pan, Pani, Dhr, Mevr, Mevrouw, Fru, Hr, Sheikh, Sri, Shri, Smt, Imam, Rabbi, Aunt, Uncle, Auntie
""")
HONORIFICS = _lines("Mr, Mrs, Ms, Miss, Mx, Dr, Prof, Sir, Madam, Mister, Professor, Doctor, Rev, Herr, Frau, Hr, Fru, "
                    "Monsieur, Madame, Mme, Mlle, Sr, Sra, Srta, Signor, Signora")  # fmt: skip
COMPANY_WORDS = _lines("""
Inc, Incorporated, LLC, LLP, LP, Ltd, Limited, Corp, Corporation, Co, Company, PLC, GmbH, AG, KG, OHG, SE, SA, SAS, SARL
SpA, SRL, BV, NV, AB, ASA, Oy, Oyj, ApS, Pty, Kft, Zrt, Sp, SL, SLU, Ltda, KK, Group, Holding, Holdings, Partners
Associates, Industries, Enterprises, Technologies, Technology, Solutions, Systems, Services, Consulting, Consultants
Software, Labs, Laboratories, Pharmaceuticals, Pharma, Biosciences, Bioscience, Therapeutics, Airlines, Airways, Motors
Bank, Bancorp, Capital, Financial, Insurance, Investments, Securities, Ventures, Advisors, Management, Analytics
Networks, Media, Entertainment, Studios, Records, Pictures, Publishing, Press, Foundation, Institute, University
College, School, Academy, Hospital, Clinic, Association, Society, Union, Council, Agency, Bureau, Commission, Committee
Ministry, Authority, Corps, Orchestra, Museum, Hotel, Lines, Logistics, Movers, Energy, Petroleum, Chemicals, Foods
Stores, Supermarket, Markets, Exchange, Trust, Fund, Broadcasting, Communications, Telecom, Wireless, Interactive
Research, Ratings, Engineering, Construction, Realty, Properties, Data, Intelligence, Insights, Health, Healthcare
""")
COMPANY_ENDINGS = _lines("Inc, Incorporated, LLC, LLP, LP, Ltd, Limited, Corp, Corporation, Co, PLC, GmbH, AG, "
                         "KG, OHG, "
                         "SARL, SpA, SRL, BV, NV, Oyj, ApS, Pty, Kft, Ltda, and Sons, & Sons, & Co, and "
                         "Co")  # fmt: skip
MONTH_NAMES = tuple(
    tuple(names.split())
    for names in (
        "January February March April May June July August September October November December",
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "Januar Februar M\u00e4rz April Mai Juni Juli August September Oktober November Dezember",
        "janvier f\u00e9vrier mars avril mai juin juillet ao\u00fbt septembre octobre novembre d\u00e9cembre",
        "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        "janeiro fevereiro mar\u00e7o abril maio junho julho agosto setembro outubro novembro dezembro",
    )
)
MONTHS = frozenset(name for names in MONTH_NAMES for name in names) | {"Sept"}
WEEKDAYS = _lines("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
STREET_WORDS = _lines("""
Street, St, Road, Rd, Avenue, Ave, Av, Drive, Dr, Lane, Ln, Way, Court, Ct, Place, Pl, Square, Sq, Boulevard, Blvd
Terrace, Close, Crescent, Highway, Hwy, Parkway, Pkwy, Trail, Circle, Cir, Alley, Loop, Row, Walk, Mews, Quay, Esplanade
Parade, Promenade, Rise, Grove, Gardens, Green, Hill, Bypass, Turnpike, Expressway, Freeway, Motorway, Pass, Path
Pike, Plaza, Route, Crossing, Heights, Ridge, View, Vista, Park
""")
# Second words of made-up street names, as the postal service of the United States lists suffixes (Publication 28, C1).
STREET_SUFFIXES = STREET_WORDS | _lines("""
Bend, Branch, Bridge, Brook, Burg, Camp, Canyon, Cape, Causeway, Center, Cliff, Cliffs, Club, Common, Corner, Course
Courts, Cove, Coves, Creek, Crest, Dale, Dam, Divide, Estate, Estates, Extension, Fall, Falls, Ferry, Field, Fields
Flat, Flats, Ford, Fords, Forest, Forge, Fork, Forks, Fort, Garden, Gateway, Glen, Harbor, Haven, Hills, Hollow, Inlet
Island, Islands, Isle, Junction, Key, Keys, Knoll, Lake, Lakes, Landing, Light, Loaf, Lock, Lodge, Mall, Manor, Meadow
Meadows, Mill, Mills, Mission, Mount, Mountain, Neck, Orchard, Oval, Parks, Passage, Pine, Pines, Plain, Plains, Point
Points, Port, Ports, Prairie, Radial, Ramp, Ranch, Rapid, Rapids, Rest, River, Roads, Rue, Run, Shoal, Shore, Shores
Skyway, Spring, Springs, Spur, Squares, Station, Stravenue, Stream, Streets, Summit, Throughway, Trace, Track
Trafficway, Tunnel, Underpass, Union, Valley, Viaduct, Views, Village, Ville, Walks, Wall, Well, Wells
""")
STREET_BEGINNINGS = (
    r"via|viale|vicolo|piazza|piazzale|corso|largo|strada|contrada|rue|avenue|boulevard|chemin|all\u00e9e|impasse|quai|"
    r"place|calle|c/|avenida|avda\.?|av\.|plaza|paseo|camino|carrera|carretera|r\u00faa|rua|travessa|pra\u00e7a|"
    r"alameda|"
    r"rodovia|estrada|ul\.|ulica|al\.|aleja|aleje|plac|os\.|n\u00e1m\u011bst\u00ed|t\u0159\u00edda|ulice|"
    r"\u03bf\u03b4\u03cc\u03c2|\u03bb\u03b5\u03c9\u03c6\u03cc\u03c1\u03bf\u03c2|leof\u00f3ros|strasse|jalan|jl\."
)
STREET_ENDINGS = (  # of words that are a street's name in one: Bahnhofstrasse, Storgatan, Mellemvej ...
    r"stra(?:ss|\u00df)e|str\.?|gasse|weg|platz|allee|ring|ufer|steig|damm|park|hof|zeile|straat|laan|plein|"
    r"gracht|kade|"
    r"dijk|singel|steeg|gata|gatan|gate|gaten|gade|gaden|v[e\u00e4]gen|vegen|veg|veien|vei|vej|vejen|v\u00e4g|"
    r"all\u00e9|"
    r"torv|torget|torg|plads|plass|stien|sti|bakken|bakke|v\u00e6nget|v\u00e6nge|parken|haven|lia|katu|kuja|polku|tie|"
    r"rinne|braut|vegur|stigur|st\u00edgur|str\u00e6ti|g\u00f6tu|\u00fat|utca|k\u00f6r\u00fat|cesta|ulica|trg|odou"
)
