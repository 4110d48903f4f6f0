"""Common English words: what a capital at the start of a sentence or in a heading does not make a name."""

from __future__ import annotations

from tunewright.privacy.letters import spaced

FUNCTION_WORDS = spaced("""
a an the this that these those my your his her its our their whose which what who whom when where why how i you he she
it we they me him us them myself yourself himself herself itself ourselves themselves one ones someone somebody anyone
anybody everyone everybody nobody something anything everything nothing and or but nor so yet for if unless until while
although though because since as than then thus hence therefore however moreover furthermore nevertheless otherwise
instead meanwhile also too not no yes never ever always often sometimes usually once twice again already still just only
even very quite rather almost about above across after against along among around at before behind below beneath beside
besides between beyond by despite down during except from in inside into like near of off on onto out outside over past
per through throughout to toward towards under underneath unlike up upon via with within without according is am are was
were be been being have has had having do does did doing done can could shall should will would may might must need
dare ought all any both each either every few many more most much neither none other others another same several some
such here there now today tomorrow yesterday tonight soon later early maybe perhaps please thanks thank ok okay hello hi
hey dear bye goodbye welcome sorry well oh ah wow hmm let let's i'm i've i'd i'll you're you've you'd you'll he's he'll
he'd she's she'll it's it'll we're we've we'd we'll they're they've they'd they'll that's there's here's what's who's
where's how's when's why's isn't aren't wasn't weren't don't doesn't didn't can't couldn't won't wouldn't shouldn't
haven't hasn't hadn't mustn't ain't cannot regards sincerely cheers yours best kind etc eg ie vs re fw fwd ps
""")

COMMON_WORDS = FUNCTION_WORDS | spaced("""
ability able absolutely accept access account accounts across act acting action actions activate activation active
activities activity actor actress actually add added addition additional address addresses adult advance adventure
advice affect afternoon again age agency agent ago agree agreement ahead air album alert alive allow allowed alone
alright alternative amazing amount analysis animal animals animation annual answer answers apartment app apparently
appeal appear apple application apply appointment appreciate approach approximately apps area aren argument arm army
arrange arrival arrive arrived art article articles artist artists ask asked asking assets assist assistance assistant
assume attack attempt attention attorney audience august aunt author authority auto automatic available average avoid
award awarded awards awesome baby back background bad bag balance ball balls band bank banking banks bar base based
basic basically basis bath beach beautiful beauty became become becoming bed bedroom beer began begin beginning behavior
belief believe benefit benefits better beware big bill billing bills biography bird birth birthday bit black block
blocked blood blow blue board body bonus book booking books border boring born borrow boss bot bottle bottom bought box
boy boys brain brand bread break breakfast brief bright brilliant bring broke broken brother brothers brought brown
browse budget build building buildings built bus business busy button buy buying cafe cake calculate calendar call
called calling calls came camera camp campaign cancel cancelled cancer candidate capital capitalized captain car card
cardiac cards care career careful carry cars case cases cash cat catch category cats cause caution cautionary cd
celebrate celebrating celebrity cell center central century ceo certain certainly certificate chance change changed
changes channel chapter character characters charge charged charges charity chat cheap check checked checking chef
chicken chief child children choice choices choose chosen church circuit city civil claim class classes classic
classical clean clear clearly click client clients clock close closed clothes clothing club code coffee cold collect
collection college color colour comedy comfort coming comment comments commercial commission committee common community
companies company compare compared competition complain complaint complete completed completely computer concern
concert condition conditions conference confirm confirmation congratulations connect connection consider console
constitution consumer contact contain content contents contest continue contract control convert cook cooking cool copy
corner corporate correct cost costs count counter countries country county couple course court cover covered create
created creative creator credit crew crime critic critical critics crowd cry culture cup currency current currently
customer customers cut dad daily dance danger dark data date dates daughter day days dead deal dealing dear death debit
debt december decide decided decision declined deep default defense definitely degree delay delete deliver delivery
demand department depends deposit describe design desk detail details develop developed development device devil dialog
diamond did die died diet difference different difficult digital dinner direct directed direction directly director
discipline discount discover discovery discuss disease dish dispute distance district doctor document documents dog
dogs dollar dollars door double doubt download draft drama draw dream dreams dress drink drinks drive driver driving
drop drug due duty dvd each ear earlier earn earth easily east eastern easy eat eating economic economy edge edit
edition editor education effect effective effort eight either election electric electronic email emails emergency
employee employees employer employment empty enable end ended ending energetic energy engine engineer engineering enjoy
enough ensure enter entertainment entire entry environment episode equal equipment error especially essential estate
euro euros evening event events eventually ever evidence evil exact exactly exam example excellent exchange excited
exciting excuse exercise expect expected expensive experience experienced experiences expert experts expire expired
explain explained explore express extend extension extra extremely eye eyes face facebook fact factor failed failure
fair fairly faith fall false family famous fan fancy fans fantasy far farm fashion fast father favorite favourite fax
fear feature features february federal fee feedback feel feeling fees feet female few field fight figure file files
fill film films final finally finance financial find fine finger finish finished fire first fish fit five fix flat
flight flights floor flow flower flowers fly focus folks follow following food foods foot football force forced forces
foreign forever forget forgot form format former fortunately forward found founded foundation four fox frank free
freedom freeze french fresh friday friend friendly friends front fruit full fully fun fund funds funny furniture future
gain galaxy game games garden gas gave gay gender general generally generation gentle gently genuine get gets getting
gift girl girlfriend girls give given giving glad glass global go goal god goes going gold golden gone good google got
government governor grade graffiti grand grandfather grandmother grant great green grey ground group groups grow
growing grown growth guarantee guess guest guide guilty guitar gun guy guys hair half hall hand handle hands happen
happened happy hard hardly hat hate hated he'd head health healthy hear heard heart heat heaven heavy held hell help
helped helpful helps hence high higher highest highly hill hint hip historic historical history hit hold holder holiday
holidays hollywood holy home homeland hope hopefully horrible horror horse hospital hot hotel hour hours house housing
huge human hundred hungry hurry husband idea ideas identity image imagine immediately impact import important
impossible improve include included includes including income increase increased incredible indeed independence
independent index individual industry info information initial inject input inside insurance intelligence interest
interested interesting international internet interview introduction invest investigation investment invite iphone
ipad island issue issues item items job jobs join joined joint joke journal journalism journey judge july jump june
junior jury justice keep keeping keeps kept key keys kid kids kill killed killer killers kind king kitchen knew know
knowing knowledge known labor lack lady land language large last late latest laugh law laws lawyer lead leader leaders
leading league learn learned least leave leaving led left legal lemon length less letter letters level liberty library
licence license lie life lifetime light likely limit limits line link links list listed listen little live lived lives
living loan local located location lock log login long longer look looked looking looks lose losing loss lost lot
lots love loved lovely low lower loyalty luck lucky lunch machine mad made magazine magic mail main major make makes
making male man manage management manager manager's manufacturer map march mark marked market marketing marriage married
mass master match material matter mature maximum maybe meal mean meaning means measure meat media medical medicine
medium meet meeting member members memory men mental mention menu mess message messages met metal method middle midnight
mile miles military milk million mind mine minimum minister minor minute minutes mirror miss missing mission mistake
mix mobile mode model modern modified mom moment monday money month monthly months moon moral morning mortgage mother
motion mountain mouse mouth move moved movement movie movies moving ms multiple mum murder museum music musical musician
myself mystery name named names nation national natural nature nearly necessary neck negative network new newest news
newspaper next nice night nine nobel noise non normal normally north northern note notes notice novel november number
numbers nurse object obviously occasionally october odd offer offers office officer official offline oil old older
online open opened opening opera opinion opportunity option options orange orchestra order ordered orders organisation
organization original originally outstanding overall own owner pack package page pages paid pain paint painting pair
paper parent parents park parking part particular particularly partner partners parts party pass passcode passed
passenger passport password patient patients pay paying payment payments peace pen pending people percent perfect
perform performance period person personal personally persons phone photo photos physical pick picture pictures piece
pin pink pizza place places plain plan plane planet plans plant plate platform play played player players playing plays
pleasant pleased pleasure pleasures plenty plot plus point points police policy political politics poll pool poor pop
popular population position positive possible possibly post posted potato potential pound pounds power powerful practice
prefer premium prepare present president press pressure pretty prevent previous previously price prices primary prime
prince princess print prison private prize pro probably problem problems process produce produced producer product
production products profile program programme progress project promise promised proper property protect protection
protest proud prove provide provided provider public publication publish published publisher pull purchase pure purple
purpose push put quality quarter queen query question questions quick quickly quiet quit quote race radio rain raise
ran range rapid rare rate rates rating reach read reading ready real reality realize really reason reasons receipt
receive received recent recently recipe recipient recommend record recorded records recover red reduce reference refers
reflect refund regarding region regular regularly related relationship relatively release released relevant religion
remain remember remind reminder remote remove rent repair repeat replace replacement replied reply report reports
represent representative request require required requirements reservation reserve reset resident resignation resource
resources respect respond response responsible rest restaurant restaurants result results resume retail retire retired
return returned returns reveal revenue reverse review reviewer reviews revolution rich ride right rights ring rise
risk river road rock role roll romantic room rooms rose round route row royal rule rules run running rural rush sad
safe safety said salad salary sale sales salesperson salt sample sand sat satisfied saturday save saved saving savings
say saying says scam scene schedule scheme school schools science scientific scientist score screen script sea search
season seat second secondary secret secretary section secure security see seeing seek seem seemed seems seen select self
sell send sending senior sense sent sentence separate september series serious seriously serve served server serves
service services session set setting settings settle seven seventh sex shape share shared sharp she'd ship shipping
shirt
shock shoe shoes shoot shop shopping short shot shoulder show showed shows shut sick side sign signed significant silver
similar simple simply sing singer singing single sir sister sit site situation six size skill skills skin sleep slightly
slow slowly small smart smell smile smoke smooth social society soft software solution son song songs songwriter
songwriters sort soul sound sounds soup source south southern space speak speaker speaking special species specific
specifically speech speed spell spend spirit split spoke sport sports spring square stage stand standard star starring
stars start started starting state statement statements states station status stay steal step stick stock stole stolen
stomach stone stop stopped store stores stories story straight strange stranger strategy stream street strength stress
strict strike string strong structure student students studied studies studio study studying stuff stupid style subject
submit subscribe subscription success successful successfully suddenly sugar suggest suggestion suitable summary summer
sun sunday super supply support supported suppose supposed sure surface surprise survey suspense sweet swim switch
symbol sync system systems table take taken takes taking tale tales talk talked talking tap tape target task tax taxi
tea teach teacher team teams tech technical technology teenager teeth telephone television tell temperature ten term
terms terrible test text than thank thanksgiving theater theatre theme theory therapy thin thing things think thinking
third thirty thought thousand thousands threat three threw throw thursday ticket tickets tie till time times tiny tip
tips tired title toast together told tomato tone tonight took tool tools top topic topics total touch tough tour tourist
toward towel tower town toy track trade tradition traditional traffic train training transaction transactions transfer
transferred transfers transit translate travel traveling treat treatment treaty tree trial trick tried trip trouble
truck
true truly trust truth try trying tube tuesday turn turned tv twelve twenty twist two type types typical ugly uncle
understand unfortunately unhappy unique unit university unknown unlimited unusual update updated upgrade upload upper
urgent urgently usa use used useful user users uses using valid validate valley value values van various vegan vehicle
verify version video view views village violence virtual visa visit voice volume vote wait waiting walk walking wall
wallet want wanted wants war warm warning wash watch watched watching water wave way ways weak weapon wear weather web
website websites wedding wednesday week weekend weekly weeks weight west western whatever wheel whenever wherever
whether
white whole wide wife wife's wild win wind window windows wine winner winning winter wire wisdom wish withdraw
withdrawal withdrawals woman women won wonder wonderful wood word words wore work worked worker working works world
worried worry worse worst worth wow write writer writing written wrong wrote yard yeah year yearly years yellow young
youth zero zip zone atm pin iban sms faq html http https www url pdf usb gps id ssn dob tbd asap fyi gmt utc est pst cst
am pm mr mrs dr nan sql select insert where bot user client agent caller speaker reservation plaintiff defendant teller
whereas moreover generally originally allegedly legally recently lately imagine suppose describe rewrite summarize
summarise translate classify generate explain identify compose given edit sort convert calculate extract paraphrase
analyze analyse construct outline brainstorm discuss evaluate define sent received subject cc bcc attachment attached
director's mother's father's brother's sister's mission maiden mailing billing ask asks anyone's everyone's today's
santa christmas easter halloween bible jesus god church gospel devil english spanish mandarin arabic latin hobbits
mastercard maestro amex paypal apple google android windows microsoft amazon facebook twitter instagram youtube netflix
apt suite ste box po im psc apo fpo dpo usd gbp eur union unions africa wondering happening linux python java
javascript wikipedia internet ebay
""")

# Endings of common words: what ends so is a name only where something else says it.
COMMON_ENDINGS = (
    "tion", "tions", "sion", "ment", "ments", "ness", "ity", "ities", "ally", "ully", "ously", "ingly", "ously", "able",
    "ible", "ful", "less", "ism", "ology", "graphy", "hood", "ship", "ships", "ically", "ious", "izing", "ising",
    "wards", "ables", "ating", "ation", "ative", "acy", "ingly", "ened", "ated", "ized", "ised", "tional",
)  # fmt: skip

# Common words that are names of people too: beside a name they belong to it.
WORDS_AND_NAMES = spaced("""
frank mark will may june april august rose grant bill young king brown green black white gray grey gold silver hill hope
faith art guy jack miles page price rich summer chase cook wood long little love day moon stone bush field justice
prince major senior junior west north east queen knight power best bond cash church close cross drew early fair fox gay
glass good hand hardy head house hunter kid lane law light lord marsh mercy mills moody park patience pierce pope pound
precious read rush sharp short shore small snow son song starr strong sun sweet swift temple train trust victor wall
water waters weather weeks winter wise woman wolf wool worth bell berry bird bishop block book bright brook burns case
charity chance clay college cotton crane dean diamond dollar earl england english england's forest freeman french garden
holiday holmes ice jean jewel joy key lamb lemon liberty rock ruby sage salt sands savage spring steel street story
tiger trip true tucker walker ward wells woods
""")
