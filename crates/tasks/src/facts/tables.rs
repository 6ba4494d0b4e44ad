//! Tables of facts. Countries on two continents and disputed or divided capitals are left out.

/// A country, English and Chinese.
pub(super) struct Country {
    pub(super) name: (&'static str, &'static str),
    pub(super) capital: (&'static str, &'static str),
    pub(super) continent: (&'static str, &'static str),
}

/// A chemical element.
pub(super) struct Element {
    pub(super) number: u32,
    pub(super) symbol: &'static str,
    pub(super) name: (&'static str, &'static str),
}

/// Question, answer and three wrong answers.
type Question = (&'static str, &'static str, [&'static str; 3]);

/// A fact of general knowledge.
pub(super) struct General {
    pub(super) english: Question,
    pub(super) chinese: Question,
}

const EUROPE: (&str, &str) = ("Europe", "欧洲");
const ASIA: (&str, &str) = ("Asia", "亚洲");
const AFRICA: (&str, &str) = ("Africa", "非洲");
const NORTH_AMERICA: (&str, &str) = ("North America", "北美洲");
const SOUTH_AMERICA: (&str, &str) = ("South America", "南美洲");
const OCEANIA: (&str, &str) = ("Oceania", "大洋洲");

/// The continents countries are asked for.
pub(super) const CONTINENTS: &[(&str, &str)] = &[EUROPE, ASIA, AFRICA, NORTH_AMERICA, SOUTH_AMERICA, OCEANIA];

const fn country(
    name: (&'static str, &'static str),
    capital: (&'static str, &'static str),
    continent: (&'static str, &'static str),
) -> Country {
    Country { name, capital, continent }
}

const fn element(number: u32, symbol: &'static str, name: (&'static str, &'static str)) -> Element {
    Element { number, symbol, name }
}

const fn general(english: Question, chinese: Question) -> General {
    General { english, chinese }
}

/// Other English spellings of an element's name.
pub(super) fn spellings(name: &str) -> Vec<String> {
    match name {
        "aluminium" => vec!["aluminum".to_owned()],
        "sulfur" => vec!["sulphur".to_owned()],
        _ => Vec::new(),
    }
}

pub(super) static COUNTRIES: &[Country] = &[
    country(("France", "法国"), ("Paris", "巴黎"), EUROPE),
    country(("Germany", "德国"), ("Berlin", "柏林"), EUROPE),
    country(("Italy", "意大利"), ("Rome", "罗马"), EUROPE),
    country(("Spain", "西班牙"), ("Madrid", "马德里"), EUROPE),
    country(("Portugal", "葡萄牙"), ("Lisbon", "里斯本"), EUROPE),
    country(("Greece", "希腊"), ("Athens", "雅典"), EUROPE),
    country(("Austria", "奥地利"), ("Vienna", "维也纳"), EUROPE),
    country(("Poland", "波兰"), ("Warsaw", "华沙"), EUROPE),
    country(("Hungary", "匈牙利"), ("Budapest", "布达佩斯"), EUROPE),
    country(("Sweden", "瑞典"), ("Stockholm", "斯德哥尔摩"), EUROPE),
    country(("Norway", "挪威"), ("Oslo", "奥斯陆"), EUROPE),
    country(("Finland", "芬兰"), ("Helsinki", "赫尔辛基"), EUROPE),
    country(("Denmark", "丹麦"), ("Copenhagen", "哥本哈根"), EUROPE),
    country(("Ireland", "爱尔兰"), ("Dublin", "都柏林"), EUROPE),
    country(("Belgium", "比利时"), ("Brussels", "布鲁塞尔"), EUROPE),
    country(("Romania", "罗马尼亚"), ("Bucharest", "布加勒斯特"), EUROPE),
    country(("Bulgaria", "保加利亚"), ("Sofia", "索非亚"), EUROPE),
    country(("Croatia", "克罗地亚"), ("Zagreb", "萨格勒布"), EUROPE),
    country(("Serbia", "塞尔维亚"), ("Belgrade", "贝尔格莱德"), EUROPE),
    country(("Ukraine", "乌克兰"), ("Kyiv", "基辅"), EUROPE),
    country(("China", "中国"), ("Beijing", "北京"), ASIA),
    country(("Japan", "日本"), ("Tokyo", "东京"), ASIA),
    country(("India", "印度"), ("New Delhi", "新德里"), ASIA),
    country(("Thailand", "泰国"), ("Bangkok", "曼谷"), ASIA),
    country(("Vietnam", "越南"), ("Hanoi", "河内"), ASIA),
    country(("Mongolia", "蒙古国"), ("Ulaanbaatar", "乌兰巴托"), ASIA),
    country(("Nepal", "尼泊尔"), ("Kathmandu", "加德满都"), ASIA),
    country(("Bangladesh", "孟加拉国"), ("Dhaka", "达卡"), ASIA),
    country(("Pakistan", "巴基斯坦"), ("Islamabad", "伊斯兰堡"), ASIA),
    country(("Iran", "伊朗"), ("Tehran", "德黑兰"), ASIA),
    country(("Iraq", "伊拉克"), ("Baghdad", "巴格达"), ASIA),
    country(("Saudi Arabia", "沙特阿拉伯"), ("Riyadh", "利雅得"), ASIA),
    country(("Afghanistan", "阿富汗"), ("Kabul", "喀布尔"), ASIA),
    country(("Cambodia", "柬埔寨"), ("Phnom Penh", "金边"), ASIA),
    country(("Laos", "老挝"), ("Vientiane", "万象"), ASIA),
    country(("Jordan", "约旦"), ("Amman", "安曼"), ASIA),
    country(("Kenya", "肯尼亚"), ("Nairobi", "内罗毕"), AFRICA),
    country(("Ethiopia", "埃塞俄比亚"), ("Addis Ababa", "亚的斯亚贝巴"), AFRICA),
    country(("Nigeria", "尼日利亚"), ("Abuja", "阿布贾"), AFRICA),
    country(("Ghana", "加纳"), ("Accra", "阿克拉"), AFRICA),
    country(("Senegal", "塞内加尔"), ("Dakar", "达喀尔"), AFRICA),
    country(("Morocco", "摩洛哥"), ("Rabat", "拉巴特"), AFRICA),
    country(("Algeria", "阿尔及利亚"), ("Algiers", "阿尔及尔"), AFRICA),
    country(("Tunisia", "突尼斯共和国"), ("Tunis", "突尼斯市"), AFRICA),
    country(("Uganda", "乌干达"), ("Kampala", "坎帕拉"), AFRICA),
    country(("Zambia", "赞比亚"), ("Lusaka", "卢萨卡"), AFRICA),
    country(("Angola", "安哥拉"), ("Luanda", "罗安达"), AFRICA),
    country(("Mali", "马里"), ("Bamako", "巴马科"), AFRICA),
    country(("Canada", "加拿大"), ("Ottawa", "渥太华"), NORTH_AMERICA),
    country(("Cuba", "古巴"), ("Havana", "哈瓦那"), NORTH_AMERICA),
    country(("Jamaica", "牙买加"), ("Kingston", "金斯敦"), NORTH_AMERICA),
    country(("Costa Rica", "哥斯达黎加"), ("San José", "圣何塞"), NORTH_AMERICA),
    country(("Honduras", "洪都拉斯"), ("Tegucigalpa", "特古西加尔巴"), NORTH_AMERICA),
    country(("Nicaragua", "尼加拉瓜"), ("Managua", "马那瓜"), NORTH_AMERICA),
    country(("the United States", "美国"), ("Washington", "华盛顿"), NORTH_AMERICA),
    country(("Brazil", "巴西"), ("Brasília", "巴西利亚"), SOUTH_AMERICA),
    country(("Argentina", "阿根廷"), ("Buenos Aires", "布宜诺斯艾利斯"), SOUTH_AMERICA),
    country(("Peru", "秘鲁"), ("Lima", "利马"), SOUTH_AMERICA),
    country(("Chile", "智利"), ("Santiago", "圣地亚哥"), SOUTH_AMERICA),
    country(("Colombia", "哥伦比亚"), ("Bogotá", "波哥大"), SOUTH_AMERICA),
    country(("Ecuador", "厄瓜多尔"), ("Quito", "基多"), SOUTH_AMERICA),
    country(("Venezuela", "委内瑞拉"), ("Caracas", "加拉加斯"), SOUTH_AMERICA),
    country(("Uruguay", "乌拉圭"), ("Montevideo", "蒙得维的亚"), SOUTH_AMERICA),
    country(("Australia", "澳大利亚"), ("Canberra", "堪培拉"), OCEANIA),
    country(("New Zealand", "新西兰"), ("Wellington", "惠灵顿"), OCEANIA),
    country(("Fiji", "斐济"), ("Suva", "苏瓦"), OCEANIA),
    country(("Samoa", "萨摩亚"), ("Apia", "阿皮亚"), OCEANIA),
    country(("Tonga", "汤加"), ("Nuku'alofa", "努库阿洛法"), OCEANIA),
];

pub(super) static ELEMENTS: &[Element] = &[
    element(1, "H", ("hydrogen", "氢")),
    element(2, "He", ("helium", "氦")),
    element(3, "Li", ("lithium", "锂")),
    element(4, "Be", ("beryllium", "铍")),
    element(5, "B", ("boron", "硼")),
    element(6, "C", ("carbon", "碳")),
    element(7, "N", ("nitrogen", "氮")),
    element(8, "O", ("oxygen", "氧")),
    element(9, "F", ("fluorine", "氟")),
    element(10, "Ne", ("neon", "氖")),
    element(11, "Na", ("sodium", "钠")),
    element(12, "Mg", ("magnesium", "镁")),
    element(13, "Al", ("aluminium", "铝")),
    element(14, "Si", ("silicon", "硅")),
    element(15, "P", ("phosphorus", "磷")),
    element(16, "S", ("sulfur", "硫")),
    element(17, "Cl", ("chlorine", "氯")),
    element(18, "Ar", ("argon", "氩")),
    element(19, "K", ("potassium", "钾")),
    element(20, "Ca", ("calcium", "钙")),
    element(21, "Sc", ("scandium", "钪")),
    element(22, "Ti", ("titanium", "钛")),
    element(23, "V", ("vanadium", "钒")),
    element(24, "Cr", ("chromium", "铬")),
    element(25, "Mn", ("manganese", "锰")),
    element(26, "Fe", ("iron", "铁")),
    element(27, "Co", ("cobalt", "钴")),
    element(28, "Ni", ("nickel", "镍")),
    element(29, "Cu", ("copper", "铜")),
    element(30, "Zn", ("zinc", "锌")),
    element(31, "Ga", ("gallium", "镓")),
    element(32, "Ge", ("germanium", "锗")),
    element(33, "As", ("arsenic", "砷")),
    element(34, "Se", ("selenium", "硒")),
    element(35, "Br", ("bromine", "溴")),
    element(36, "Kr", ("krypton", "氪")),
    element(37, "Rb", ("rubidium", "铷")),
    element(38, "Sr", ("strontium", "锶")),
    element(39, "Y", ("yttrium", "钇")),
    element(40, "Zr", ("zirconium", "锆")),
    element(41, "Nb", ("niobium", "铌")),
    element(42, "Mo", ("molybdenum", "钼")),
    element(47, "Ag", ("silver", "银")),
    element(50, "Sn", ("tin", "锡")),
    element(53, "I", ("iodine", "碘")),
    element(56, "Ba", ("barium", "钡")),
    element(74, "W", ("tungsten", "钨")),
    element(78, "Pt", ("platinum", "铂")),
    element(79, "Au", ("gold", "金")),
    element(80, "Hg", ("mercury", "汞")),
    element(82, "Pb", ("lead", "铅")),
    element(83, "Bi", ("bismuth", "铋")),
    element(92, "U", ("uranium", "铀")),
];

pub(super) static GENERAL: &[General] = &[
    general(
        ("How many legs does a spider have?", "eight", ["six", "ten", "twelve"]),
        ("蜘蛛有几条腿？", "八条", ["六条", "十条", "十二条"]),
    ),
    general(
        ("How many legs does an insect have?", "six", ["four", "eight", "ten"]),
        ("昆虫有几条腿？", "六条", ["四条", "八条", "十条"]),
    ),
    general(
        ("How many days are there in a leap year?", "366", ["365", "364", "360"]),
        ("闰年有多少天？", "366", ["365", "364", "360"]),
    ),
    general(
        ("How many minutes are there in an hour?", "60", ["24", "100", "30"]),
        ("一小时有多少分钟？", "60", ["24", "100", "30"]),
    ),
    general(
        ("Which planet is the largest in the Solar System?", "Jupiter", ["Saturn", "Mars", "Venus"]),
        ("太阳系中最大的行星是哪一颗？", "木星", ["土星", "火星", "金星"]),
    ),
    general(
        ("Which planet is closest to the Sun?", "Mercury", ["Venus", "Mars", "Neptune"]),
        ("离太阳最近的行星是哪一颗？", "水星", ["金星", "火星", "海王星"]),
    ),
    general(
        ("Which planet is known as the red planet?", "Mars", ["Jupiter", "Venus", "Uranus"]),
        ("哪颗行星被称为红色星球？", "火星", ["木星", "金星", "天王星"]),
    ),
    general(
        (
            "What force keeps the planets in orbit around the Sun?",
            "gravity",
            ["friction", "magnetism", "air pressure"],
        ),
        ("是什么力使行星绕太阳运行？", "引力", ["摩擦力", "磁力", "大气压力"]),
    ),
    general(
        (
            "Which gas do plants take in for photosynthesis?",
            "carbon dioxide",
            ["helium", "methane", "hydrogen"],
        ),
        ("植物光合作用吸收哪种气体？", "二氧化碳", ["氦气", "甲烷", "氢气"]),
    ),
    general(
        ("Which organ pumps blood through the human body?", "heart", ["liver", "stomach", "kidney"]),
        ("人体中哪个器官把血液泵到全身？", "心脏", ["肝脏", "胃", "肾脏"]),
    ),
    general(
        ("Which organ do humans use to breathe?", "lungs", ["liver", "spleen", "pancreas"]),
        ("人用哪个器官呼吸？", "肺", ["肝脏", "脾脏", "胰腺"]),
    ),
    general(
        (
            "At what temperature in degrees Celsius does pure water freeze at sea level?",
            "0",
            ["10", "50", "100"],
        ),
        ("标准大气压下纯水在多少摄氏度结冰？", "0", ["10", "50", "100"]),
    ),
    general(
        (
            "At what temperature in degrees Celsius does pure water boil at sea level?",
            "100",
            ["50", "80", "150"],
        ),
        ("标准大气压下纯水在多少摄氏度沸腾？", "100", ["50", "80", "150"]),
    ),
    general(
        ("What is the chemical formula of water?", "H2O", ["CO2", "NaCl", "O2"]),
        ("水的化学式是什么？", "H2O", ["CO2", "NaCl", "O2"]),
    ),
    general(
        ("What is the chemical formula of table salt?", "NaCl", ["KBr", "H2O", "CaCO3"]),
        ("食盐的化学式是什么？", "NaCl", ["KBr", "H2O", "CaCO3"]),
    ),
    general(
        ("What do bees make from nectar?", "honey", ["milk", "silk", "cheese"]),
        ("蜜蜂用花蜜酿造什么？", "蜂蜜", ["牛奶", "丝绸", "奶酪"]),
    ),
    general(
        ("Which animal is the tallest living on land?", "giraffe", ["elephant", "horse", "camel"]),
        ("陆地上现存最高的动物是什么？", "长颈鹿", ["大象", "马", "骆驼"]),
    ),
    general(
        (
            "Which animal is the largest that lives on Earth today?",
            "blue whale",
            ["elephant", "giraffe", "hippopotamus"],
        ),
        ("现今地球上最大的动物是什么？", "蓝鲸", ["大象", "长颈鹿", "河马"]),
    ),
    general(
        ("Which ocean is the largest?", "Pacific", ["Atlantic", "Indian", "Arctic"]),
        ("世界上最大的大洋是哪一个？", "太平洋", ["大西洋", "印度洋", "北冰洋"]),
    ),
    general(
        (
            "Which mountain is the highest above sea level?",
            "Mount Everest",
            ["Kilimanjaro", "Mont Blanc", "Denali"],
        ),
        ("海拔最高的山峰是哪一座？", "珠穆朗玛峰", ["乞力马扎罗山", "勃朗峰", "德纳里山"]),
    ),
    general(
        (
            "Who wrote the play Hamlet?",
            "William Shakespeare",
            ["Charles Dickens", "Jane Austen", "Mark Twain"],
        ),
        ("戏剧《哈姆雷特》的作者是谁？", "莎士比亚", ["狄更斯", "简·奥斯汀", "马克·吐温"]),
    ),
    general(
        (
            "Who wrote the novel Pride and Prejudice?",
            "Jane Austen",
            ["Emily Dickinson", "Mark Twain", "Leo Tolstoy"],
        ),
        ("小说《傲慢与偏见》的作者是谁？", "简·奥斯汀", ["艾米莉·狄金森", "马克·吐温", "托尔斯泰"]),
    ),
    general(
        (
            "Who painted the Mona Lisa?",
            "Leonardo da Vinci",
            ["Vincent van Gogh", "Pablo Picasso", "Claude Monet"],
        ),
        ("油画《蒙娜丽莎》的作者是谁？", "达·芬奇", ["梵高", "毕加索", "莫奈"]),
    ),
    general(
        (
            "Who proposed the general theory of relativity?",
            "Albert Einstein",
            ["Isaac Newton", "Charles Darwin", "Galileo Galilei"],
        ),
        ("广义相对论是谁提出的？", "爱因斯坦", ["牛顿", "达尔文", "伽利略"]),
    ),
    general(
        (
            "Which Chinese novel tells of the Monkey King Sun Wukong?",
            "Journey to the West",
            ["Dream of the Red Chamber", "Water Margin", "Romance of the Three Kingdoms"],
        ),
        ("孙悟空是哪部小说中的人物？", "《西游记》", ["《红楼梦》", "《水浒传》", "《三国演义》"]),
    ),
    general(
        ("Which Chinese dynasty did the First Emperor Qin Shi Huang found?", "Qin", ["Tang", "Song", "Ming"]),
        ("秦始皇建立了哪个朝代？", "秦朝", ["唐朝", "宋朝", "明朝"]),
    ),
    general(
        ("What is the square root of 144?", "12", ["14", "11", "16"]),
        ("144的算术平方根是多少？", "12", ["14", "11", "16"]),
    ),
    general(
        ("How many sides does a hexagon have?", "six", ["five", "seven", "eight"]),
        ("六边形有几条边？", "六条", ["五条", "七条", "八条"]),
    ),
    general(
        ("What is the sum of the interior angles of a triangle in degrees?", "180", ["90", "270", "360"]),
        ("三角形内角和是多少度？", "180", ["90", "270", "360"]),
    ),
    general(("What is 7 times 8?", "56", ["54", "48", "63"]), ("7乘以8等于多少？", "56", ["54", "48", "63"])),
    general(
        ("In which direction does the Sun rise?", "east", ["west", "north", "south"]),
        ("太阳从哪个方向升起？", "东方", ["西方", "北方", "南方"]),
    ),
    general(
        ("What is the frozen form of water called?", "ice", ["steam", "fog", "dew"]),
        ("水结冻后叫什么？", "冰", ["蒸汽", "雾", "露水"]),
    ),
    general(
        (
            "Which season comes after spring in the yearly cycle?",
            "summer",
            ["winter", "autumn", "the monsoon"],
        ),
        ("一年中春季之后是哪个季节？", "夏季", ["冬季", "秋季", "雨季"]),
    ),
    general(
        (
            "Which is the first month of the year in the Gregorian calendar?",
            "January",
            ["March", "June", "December"],
        ),
        ("公历一年的第一个月是几月？", "一月", ["三月", "六月", "十二月"]),
    ),
    general(
        (
            "What is the largest internal organ that makes bile in the human body?",
            "liver",
            ["lung", "heart", "brain"],
        ),
        ("人体中哪个器官分泌胆汁？", "肝脏", ["肺", "心脏", "大脑"]),
    ),
    general(
        (
            "Which vitamin does human skin make in sunlight?",
            "vitamin D",
            ["vitamin C", "vitamin A", "vitamin K"],
        ),
        ("人的皮肤在阳光下合成哪种维生素？", "维生素D", ["维生素C", "维生素A", "维生素K"]),
    ),
    general(
        ("How many strings does a standard violin have?", "four", ["six", "five", "eight"]),
        ("标准小提琴有几根弦？", "四根", ["六根", "五根", "八根"]),
    ),
    general(
        (
            "How many players does one soccer team have on the field at the start?",
            "eleven",
            ["nine", "seven", "fifteen"],
        ),
        ("一支足球队开场时有几名队员在场上？", "十一名", ["九名", "七名", "十五名"]),
    ),
    general(
        ("Which instrument measures temperature?", "thermometer", ["barometer", "compass", "ruler"]),
        ("测量温度的仪器是什么？", "温度计", ["气压计", "指南针", "直尺"]),
    ),
    general(
        ("Which instrument shows the direction of north?", "compass", ["thermometer", "microscope", "scale"]),
        ("指示北方的仪器是什么？", "指南针", ["温度计", "显微镜", "天平"]),
    ),
];
