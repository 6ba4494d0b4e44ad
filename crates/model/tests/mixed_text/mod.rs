//! Deterministic text that is hard on tokenizers: English, Chinese, code, numbers, emoji, odd white space,
//! combining marks, and characters drawn from all of Unicode. Nothing in it is quoted from anywhere.

const ENGLISH: &[&str] = &[
    "the",
    "reader's",
    "don't",
    "WE'LL",
    "I'm",
    "they've",
    "market",
    "Inertia",
    "hydrogen",
    "re-entry",
    "naïve",
    "coöperate",
    "supercalifragilistic",
    "A",
    "of",
    "however,",
    "(perhaps)",
    "\"quoted\"",
    "end.",
    "e.g.",
    "U.S.",
    "price/quantity",
    "CamelCaseWord",
    "ALLCAPS",
    "…and",
    "well—known",
    "co2",
    "H2O",
    "3rd",
    "x86_64",
    "it’s",
];
const CHINESE: &[&str] = &[
    "格物致知",
    "氢是最轻的元素",
    "，",
    "。",
    "市场价格由供求决定",
    "「引用」",
    "第十二章",
    "２０２４年",
    "二〇二四",
    "——",
    "《经济学原理》",
    "电阻率约为",
    "你好，世界！",
    "機器學習",
    "𠮷野家",
    "々",
    "ㄅㄆㄇ",
    "かな交じり文",
    "한국어",
    "％",
    "　",
];
const CODE: &[&str] = &[
    "fn main() {\n    let x = a[i] + 0x1F;\n}\n",
    "if (p != NULL && *p++ == '\\0') return -1;",
    "def f(x, *, y=None):\n\treturn x**2\n",
    "SELECT * FROM t WHERE a >= 10.5;",
    "<div class=\"a-b\">&nbsp;</div>",
    "// TODO: …\r\n",
    "#include <stdio.h>\n\n\n",
    "$\\frac{1}{2}\\alpha_{i}^{2}$",
    "https://example.org/a?b=c&d=%20#e",
    "{\"k\": [1, 2.0, -3e-7, null]}",
    "a->b::c<d>()!?;",
    "\\n\\t\\\\",
];
const SYMBOLS: &[&str] = &[
    "😀",
    "👩‍👩‍👧",
    "🇨🇳",
    "👍🏽",
    "❤️",
    "é",
    "e\u{301}",
    "q̃",
    "ﬁ",
    "Å",
    "½",
    "²",
    "Ⅷ",
    "٣٤",
    "०१",
    "עברית",
    "عربى",
    "ไทย",
    "\u{200b}",
    "\u{feff}",
    "\u{a0}",
    "\u{2028}",
    "\u{85}",
    "€",
    "→",
    "≤",
    "∑",
    "ſ",
    "İ",
    "ß",
    "Ω",
    "<|im_end|>",
    "<|endoftext|>",
    "\u{7f}",
    "\u{1}",
];
const SPACES: &[&str] =
    &[" ", " ", " ", " ", " ", "  ", "   ", "\n", "\n\n", "\t", " \n ", "\r\n", "", "", "        "];

/// About `bytes` bytes of text that depend on `seed` alone.
pub(crate) fn mixed_text(seed: u64, bytes: usize) -> String {
    let mut state = seed;
    let mut next = move |below: usize| {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = state;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) % below as u64) as usize
    };
    let mut text = String::new();
    while text.len() < bytes {
        match next(20) {
            0..=7 => text.push_str(ENGLISH[next(ENGLISH.len())]),
            8..=12 => text.push_str(CHINESE[next(CHINESE.len())]),
            13 | 14 => text.push_str(CODE[next(CODE.len())]),
            15 => text.push_str(SYMBOLS[next(SYMBOLS.len())]),
            16 => text.push_str(&format!("{}.{:03}", next(100_000), next(1000))),
            17 => text.push_str(&"=-_*#~"[next(6)..].repeat(1 + next(9))),
            18 => text.extend((0..1 + next(8)).map(|_| char::from(b'a' + next(26) as u8))),
            _ => text.extend(char::from_u32(next(0x11_0000) as u32).filter(|c| assigned_plane(*c))),
        }
        text.push_str(SPACES[next(SPACES.len())]);
    }
    text
}

/// Planes whose characters every Unicode version in use classifies alike, mostly.
fn assigned_plane(c: char) -> bool {
    matches!(c as u32, 0x20..=0x2ff | 0x370..=0x3ff | 0x410..=0x44f | 0x3041..=0x3096 | 0x4e00..=0x9fa5 | 0xac00..=0xd7a3 | 0x1f300..=0x1f5ff)
}
