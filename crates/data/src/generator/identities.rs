//! Invented personal data that passes every check, with a sentence to carry it.

use ledger::Stream;

/// Digits, the first of them not zero.
fn digits(random: &mut Stream, count: usize) -> String {
    (0..count)
        .map(|i| char::from(b'0' + (if i == 0 { 1 + random.below(9) } else { random.below(10) }) as u8))
        .collect()
}

fn pick<'a>(random: &mut Stream, list: &[&'a str]) -> &'a str {
    random.choose(list).copied().unwrap_or_default()
}

/// A kind of personal data, an invented value of it, and a sentence with `{}` in the value's place.
pub fn identity(random: &mut Stream, language: &str) -> (&'static str, String, &'static str) {
    let english = language == "en";
    let kind = random.below(9);
    let (kind, value): (&'static str, String) = match kind {
        0 => ("email", email(random)),
        1 => ("phone", if english { american_phone(random) } else { chinese_phone(random) }),
        2 => ("resident_id", resident_id(random)),
        3 => ("credit_code", credit_code(random)),
        4 => (
            "ssn",
            format!(
                "{:03}-{:02}-{:04}",
                100 + random.below(500),
                1 + random.below(99),
                1 + random.below(9999)
            ),
        ),
        5 => ("bank_card", bank_card(random)),
        6 => ("iban", iban(random)),
        7 => (
            "ip_address",
            format!(
                "{}.{}.{}.{}",
                20 + random.below(70),
                random.below(256),
                random.below(256),
                1 + random.below(254)
            ),
        ),
        _ => ("api_key", api_key(random)),
    };
    let carrier = match (english, random.below(4)) {
        (true, 0) => "Please use {} when you write to us.",
        (true, 1) => "The clerk noted {} in the margin.",
        (true, 2) => "Record: {}, confirmed.",
        (true, _) => "For questions about the lease ({}), ask at the desk.",
        (false, 0) => "请使用{}与我们联系。",
        (false, 1) => "登记信息为：{}，已经核实。",
        (false, 2) => "办事员在表格上写下了 {} 这一项。",
        (false, _) => "如有疑问（{}），请到前台咨询。",
    };
    (kind, value, carrier)
}

/// A sentence with something that has the form of personal data and is nobody's.
pub fn look_alike(random: &mut Stream, language: &str) -> String {
    let english = language == "en";
    let number = |random: &mut Stream| (1 + random.below(250)).to_string();
    let public = |random: &mut Stream| {
        format!("{}.{}.{}", 40 + random.below(50), 60 + random.below(190), number(random))
    };
    let value = match random.below(10) {
        0 => format!("{}{}@example.com", pick(random, &["alice", "bob", "zhang.san"]), random.below(100)),
        1 => format!("{}@univ.edu.cn", pick(random, &["info", "webmaster", "support", "noreply"])),
        2 => format!("{}@lists.univ.edu", pick(random, &["readers", "gardeners", "archive-users"])),
        3 => format!(
            "{}.{}",
            pick(random, &["192.0.2", "198.51.100", "203.0.113", "10.20.30"]),
            number(random)
        ),
        4 => format!("{}.0/24", public(random)),
        5 => format!("{}.255", public(random)),
        6 => pick(random, &["208.67.222.222", "223.5.5.5", "114.114.114.114", "2001:4860:4860::8888"])
            .to_owned(),
        7 => format!("--address={}.{}", public(random), number(random)),
        8 => format!("2001:db8:{:x}::{:x}", random.below(65_536), 1 + random.below(65_535)),
        _ => format!("1.{}.{}.{}", random.below(40), random.below(40), random.below(40)),
    };
    let carrier = match (english, random.below(2)) {
        (true, 0) => "The handbook prints {} in its second chapter.",
        (true, _) => "Behind the counter somebody had written {} on a card.",
        (false, 0) => "手册的第二章里印着 {} 这一行。",
        (false, _) => "柜台后面的卡片上写着 {} 几个字。",
    };
    carrier.replace("{}", &value)
}

fn email(random: &mut Stream) -> String {
    let name = pick(random, &["alice", "bob.li", "chen_wei", "d-martin", "zhang.san", "maria99"]);
    let host = pick(random, &["outlook.com", "mail.univ.edu", "qq.com", "163.com", "univ.edu.cn"]);
    format!("{name}{}@{host}", random.below(1000))
}

fn american_phone(random: &mut Stream) -> String {
    let area = format!("{}{}{}", 2 + random.below(8), random.below(10), 2 + random.below(8));
    let exchange = format!("{}{}{}", 2 + random.below(8), random.below(10), 2 + random.below(8));
    let line = format!("{:04}", random.below(10_000));
    match random.below(4) {
        0 => format!("({area}) {exchange}-{line}"),
        1 => format!("{area}-{exchange}-{line}"),
        2 => format!("+1-{area}-{exchange}-{line}"),
        _ => format!("+1 {area} {exchange} {line}"),
    }
}

fn chinese_phone(random: &mut Stream) -> String {
    let head = format!("1{}{}", 3 + random.below(7), random.below(10));
    let (middle, line) = (format!("{:04}", random.below(10_000)), format!("{:04}", random.below(10_000)));
    match random.below(5) {
        0 => format!("{head}{middle}{line}"),
        1 => format!("{head}-{middle}-{line}"),
        2 => format!("+86 {head} {middle} {line}"),
        3 => format!("+86{head}{middle}{line}"),
        _ => format!(
            "0{}-{}{}",
            pick(random, &["10", "21", "571", "755"]),
            2 + random.below(7),
            &digits(random, 7)
        ),
    }
}

fn resident_id(random: &mut Stream) -> String {
    let region = pick(random, &["110105", "310104", "440305", "330106", "510107", "420106"]);
    let date = format!("{}{:02}{:02}", 1950 + random.below(60), 1 + random.below(12), 1 + random.below(28));
    let head = format!("{region}{date}{:03}", random.below(1000));
    // GB 11643-1999: weights 2^(17-i) mod 11.
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 = head.bytes().zip(WEIGHTS).map(|(d, w)| u32::from(d - b'0') * w).sum();
    format!("{head}{}", char::from(b"10X98765432"[(sum % 11) as usize]))
}

fn credit_code(random: &mut Stream) -> String {
    const SIGNS: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let region = pick(random, &["110105", "310104", "440305", "330106"]);
    let body: String = (0..9).map(|_| char::from(SIGNS[random.below(SIGNS.len())])).collect();
    let head = format!("91{region}{body}");
    // GB 32100-2015: weights 3^i mod 31.
    let mut weight = 1;
    let mut sum = 0;
    for sign in head.bytes() {
        sum += SIGNS.iter().position(|s| *s == sign).unwrap_or(0) * weight;
        weight = weight * 3 % 31;
    }
    format!("{head}{}", char::from(SIGNS[(31 - sum % 31) % 31]))
}

fn bank_card(random: &mut Stream) -> String {
    let (head, length) = [("4", 16), ("52", 16), ("6222", 19), ("6217", 16), ("37", 15)][random.below(5)];
    let mut number = format!("{head}{}", digits(random, length - 1 - head.len()));
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let value = u32::from(d - b'0') * if i % 2 == 0 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    number.push_str(&((10 - sum % 10) % 10).to_string());
    if length == 16 && random.below(2) == 0 {
        let groups: Vec<&str> = (0..4).map(|i| &number[i * 4..i * 4 + 4]).collect();
        return groups.join(pick(random, &[" ", "-"]));
    }
    number
}

fn iban(random: &mut Stream) -> String {
    let (country, length, codes) =
        [("DE", 22, "131400"), ("ES", 24, "142800"), ("PL", 28, "252100")][random.below(3)];
    let body = digits(random, length - 4);
    let remainder = format!("{body}{codes}").bytes().fold(0_u32, |r, d| (r * 10 + u32::from(d - b'0')) % 97);
    let compact = format!("{country}{:02}{body}", 98 - remainder);
    if random.below(2) == 0 {
        return compact;
    }
    compact.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
}

fn api_key(random: &mut Stream) -> String {
    const SIGNS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let (prefix, length) = [("AKIA", 16), ("ghp_", 36), ("sk-", 48)][random.below(3)];
    let body: String = (0..length - 2).map(|_| char::from(SIGNS[random.below(SIGNS.len())])).collect();
    format!("{prefix}A7{body}")
}
