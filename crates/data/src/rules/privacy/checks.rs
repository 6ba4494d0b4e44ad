//! Check digits, ranges and calendars of identity, card and account numbers.

/// Chinese resident identity number: province, date of birth, ISO 7064 mod 11-2 (GB 11643-1999). 18 bytes.
pub(super) fn resident_id(id: &[u8]) -> bool {
    let Some((check, digits)) = id.split_last() else { return false };
    if id.len() != 18 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number =
        |range: std::ops::Range<usize>| digits[range].iter().fold(0_u32, |n, d| n * 10 + u32::from(d - b'0'));
    let date = valid_date(number(6..10), number(10..12), number(12..14));
    // The weight of a place is 2 to the power of its distance from the end, modulo 11.
    let sum =
        digits.iter().enumerate().map(|(i, d)| u32::from(d - b'0') * (1_u32 << (17 - i)) % 11).sum::<u32>();
    let expected = b"10X98765432"[(sum % 11) as usize];
    province(number(0..2)) && date && check.to_ascii_uppercase() == expected
}

fn province(code: u32) -> bool {
    matches!(code, 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83)
}

fn valid_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1880..=2099).contains(&year) && (1..=days).contains(&day)
}

/// Unified social credit code: registration department, region, check character of mod 31 (GB 32100-2015). 18 bytes.
pub(super) fn credit_code(code: &[u8]) -> bool {
    const SIGNS: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    const WEIGHTS: [usize; 17] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28];
    if code.len() != 18 {
        return false;
    }
    let values: Option<Vec<usize>> = code.iter().map(|b| SIGNS.iter().position(|s| s == b)).collect();
    let Some(values) = values else { return false };
    let region = &code[2..8];
    let department =
        matches!(code[0], b'1'..=b'9' | b'A' | b'N' | b'Y') && matches!(code[1], b'1'..=b'9' | b'A'..=b'G');
    let area = u32::from(region[0].wrapping_sub(b'0')) * 10 + u32::from(region[1].wrapping_sub(b'0'));
    let sum: usize = values.iter().zip(WEIGHTS).map(|(value, weight)| value * weight).sum();
    let check = (31 - sum % 31) % 31;
    department
        && region.iter().all(u8::is_ascii_digit)
        && (province(area) || area == 10)
        && values[17] == check
}

/// Luhn check over the digits.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| {
            let value = u32::from(d - b'0') << (i % 2);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Whether the digits are in the range and length of a card issuer.
pub(super) fn card_issuer(digits: &[u8]) -> bool {
    let head = |n: usize| digits.iter().take(n).fold(0_u32, |v, d| v * 10 + u32::from(d - b'0'));
    let length = digits.len();
    if digits.windows(2).all(|w| w[0] == w[1]) {
        return false;
    }
    match head(4) {
        4000..=4999 => matches!(length, 13 | 16 | 19),
        5100..=5599 | 2221..=2720 => length == 16,
        3400..=3499 | 3700..=3799 => length == 15,
        3000..=3059 | 3600..=3699 | 3800..=3999 => length == 14,
        3528..=3589 => length == 16,
        6011 | 6440..=6599 => matches!(length, 16 | 19),
        6200..=6299 => (16..=19).contains(&length),
        // Older debit cards of Chinese banks.
        9558 | 9559 | 6013 | 6019 | 6030 | 6040 => (16..=19).contains(&length),
        _ => false,
    }
}

/// Whether area, group and serial of a US social security number are in use.
pub(super) fn ssn(area: u32, group: u32, serial: u32) -> bool {
    // Numbers that were printed as examples, and those of one digit for each part.
    let printed = matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999) | (123, 45, 6789));
    let uniform = area.is_multiple_of(111) && group.is_multiple_of(11) && serial.is_multiple_of(1111);
    (1..=899).contains(&area) && area != 666 && group != 0 && serial != 0 && !printed && !uniform
}

/// North American numbering plan: area code and exchange start with 2–9 and are no service codes.
pub(super) fn nanp(area: u32, exchange: u32) -> bool {
    (200..=999).contains(&area) && (200..=999).contains(&exchange) && area % 100 != 11 && exchange % 100 != 11
}

/// Lengths of IBANs by country.
const IBAN: &[(&str, usize)] = &[
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BR", 29),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NL", 18),
    ("NO", 15),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
    ("VG", 24),
    ("XK", 20),
];

/// Length of the IBANs of a country.
pub(super) fn iban_length(country: &[u8]) -> Option<usize> {
    IBAN.iter().find(|(code, _)| code.as_bytes() == country).map(|(_, length)| *length)
}

/// IBAN check: ISO 7064 mod 97-10 with the first four characters moved to the end.
pub(super) fn iban(characters: &[u8]) -> bool {
    let Some((head, tail)) = characters.split_at_checked(4) else { return false };
    let remainder = tail.iter().chain(head).try_fold(0_u32, |r, b| match b {
        b'0'..=b'9' => Some((r * 10 + u32::from(b - b'0')) % 97),
        b'A'..=b'Z' => Some((r * 100 + u32::from(b - b'A') + 10) % 97),
        _ => None,
    });
    remainder == Some(1)
}

/// Country domains, and general ones in wide use.
const DOMAINS: &str = " ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt \
    bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo \
    fr ga gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp \
    ke kg kh ki km kn kp kr kw ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu \
    mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa \
    sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk \
    us uy uz va vc ve vg vi vn vu wf ws ye yt za zm zw com org net edu gov mil int info biz name pro aero coop museum mobi \
    tel asia cat jobs travel xyz top site online store shop app dev tech cloud email club vip wang ltd group work live \
    life world news blog wiki page link digital agency company software systems network host space website academy bank \
    finance health media studio design art games ";

/// Whether a top-level domain exists.
pub(super) fn domain(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    DOMAINS.split_ascii_whitespace().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_examples() {
        assert!(resident_id(b"11010519491231002X"));
        assert!(!resident_id(b"110105194912310021"));
        assert!(!resident_id(b"11010519490231002X"));
        assert!(credit_code(b"91350100M000100Y43"));
        assert!(!credit_code(b"91350100M000100Y44"));
        assert!(luhn(b"4111111111111111") && !luhn(b"4111111111111112"));
        assert!(iban(b"DE89370400440532013000") && !iban(b"DE89370400440532013001"));
        assert!(domain("CN") && domain("com") && !domain("service"));
    }
}
