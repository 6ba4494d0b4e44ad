//! Known answers for every kind, in English and Chinese, with their look-alikes.

use super::*;

fn kinds(text: &str) -> Vec<(&'static str, &str)> {
    scan(text).into_iter().map(|f| (f.kind, &text[f.span])).collect()
}

#[test]
fn every_kind_is_found_whole() {
    for (text, kind, value) in [
        ("Write to alice.smith+news@mail.univ.edu, please.", "email", "alice.smith+news@mail.univ.edu"),
        ("邮箱：zhang_san@qq.com。", "email", "zhang_san@qq.com"),
        ("手机号13812345678，请联系", "phone", "13812345678"),
        ("电话 +86 138-1234-5678。", "phone", "+86 138-1234-5678"),
        ("拨打+8613912345678", "phone", "+8613912345678"),
        ("拨打 +86-13912345678", "phone", "+86-13912345678"),
        ("拨打 86 139 1234 5678", "phone", "86 139 1234 5678"),
        ("138 1234 5678", "phone", "138 1234 5678"),
        ("座机010-62345678转", "phone", "010-62345678"),
        ("办公室：(0571) 87654321。", "phone", "(0571) 87654321"),
        ("Call (415) 555-0132 now", "phone", "(415) 555-0132"),
        ("Call 415-555-0132.", "phone", "415-555-0132"),
        ("Call +1-415-555-0132", "phone", "+1-415-555-0132"),
        ("at +1 (415) 555-0132, ok", "phone", "+1 (415) 555-0132"),
        ("Tel: 415.555.0132", "phone", "415.555.0132"),
        ("SMS +14155550132", "phone", "+14155550132"),
        ("身份证号11010519491231002X，", "resident_id", "11010519491231002X"),
        ("税号：91350100M000100Y43。", "credit_code", "91350100M000100Y43"),
        ("SSN 536-22-8134.", "ssn", "536-22-8134"),
        ("SSN: 536228134.", "ssn", "536228134"),
        ("card 4111 1111 1111 1111 expires", "bank_card", "4111 1111 1111 1111"),
        ("卡号6222021234567890128。", "bank_card", "6222021234567890128"),
        ("Amex 3782-822463-10005", "bank_card", "3782-822463-10005"),
        ("IBAN DE89 3704 0044 0532 0130 00.", "iban", "DE89 3704 0044 0532 0130 00"),
        ("IBAN GB82WEST12345698765432,", "iban", "GB82WEST12345698765432"),
        ("护照号码E12345678。", "passport", "E12345678"),
        ("passport no. 512345678", "passport", "512345678"),
        ("from 8.8.4.4:53", "", ""),
        ("login from 203.98.76.54 failed", "ip_address", "203.98.76.54"),
        ("来自123.125.114.144的请求", "ip_address", "123.125.114.144"),
        ("at 2409:8a00:1:2::abcd ok", "ip_address", "2409:8a00:1:2::abcd"),
        (
            "at 2607:f8b0:4005:0805:0000:0000:0000:200e ok",
            "ip_address",
            "2607:f8b0:4005:0805:0000:0000:0000:200e",
        ),
        ("key AKIAIOSFODNN7EXAMPLE here", "api_key", "AKIAIOSFODNN7EXAMPLE"),
        (
            "token=ghp_16C7e42F292c6912E7710c838347Ae178B4a;",
            "api_key",
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        ),
    ] {
        let expected = if kind.is_empty() { Vec::new() } else { vec![(kind, value)] };
        assert_eq!(kinds(text), expected, "{text}");
    }
}

#[test]
fn look_alikes_are_left_alone() {
    for text in [
        "version 4.18.120.33 of the kernel",
        "libfoo-1.2.3.4.tar.gz and OID 1.3.6.1.4.1.311",
        "listen on 127.0.0.1, 192.168.1.1, 10.0.0.0/8, 255.255.255.0 or 192.0.2.7",
        "2001:db8::1 and fe80::1 and ::1 and std::cafe::bed",
        "aa:bb:cc:dd:ee:ff, 12:34:56, 00:11:22:33:44:55:66:77",
        "18446744073709551615 and 4111111111111112 and 0000000000000000",
        "deadbeef4111111111111111cafe",
        "getty@tty1.service user@host @param foo@bar",
        "git@github.com:org/repo.git and ssh://git@host.com/x",
        "2024-11-24 10:30:00, 1999-12-31, ISBN 978-7-115-12345-6",
        "000-12-3456 666-12-3456 900-12-3456 123-00-4567",
        "订单号12812345678，金额138元，共13812345678901件",
        "110105194912310021 is no identity",
        "pi is 3.14159265358979 and 1.13812345678",
        "111-555-0132 and 415-055-0132 and 555-1212",
        "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
        "sk-learn is a library; hf_transfer too",
        "123456789 and A12345678 with no word beside it",
        "524C 525E 5261 5281 5282 5283 5284",
        "SSN 123-45-6789, 111-22-3333, 219-09-9999, 078-05-1120",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
}

#[test]
fn addresses_of_nobody_are_left_alone() {
    for text in [
        // Set aside for examples, or made up as one.
        "user@example.com, larry@www.example.org, root@server.example.net, a@b.example, me@host.test",
        "test123@example.domain.com someone@somewhere.org bob@company.com goo@bar.net eng@foo.co.uk",
        "--member='user:test\\-user@gmail.com' and \\f5testuser@gmail.com\\fR and your.name@univ.edu",
        "a@gmail.com and t.i.m@gmail.com and foo+tag@gmail.com are too short for Gmail",
        "John.Doe@univ.edu, jane_doe2@univ.edu, firstname.lastname@univ.edu, test1@univ.edu",
        // Roles and lists.
        "info@univ.edu, no-reply@shop.com, webmaster@univ.edu.cn, 客服邮箱 support@shop.cn",
        "netdev@vger.kernel.org procps@freelists.org debian\\-l10n\\-french@lists.debian.org",
        "bug-bash@gnu.org, bug\\-gettext@gnu.org, gtk-devel@gnome.org, x@googlegroups.com",
        // Programs, protocols, messages.
        "admin@project.iam.gserviceaccount.com and chacha20-poly1305@openssh.com",
        "https://lore.kernel.org/r/20190705175321.DB42F0AD@viggo.intel.com and 87poky5ca9.fsf@xmission.com",
        "fea8b16d-5a69-40f9-b123-e84dcd6e8f2e@www.fastmail.com and CAKgNAkhNSWR3uYh@mail.gmail.com",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
    for (text, value) in [
        ("by \\fIjoost@debian.org\\fP", "joost@debian.org"),
        ("ig25@rz.uni\\-karlsruhe.de wrote", "ig25@rz.uni\\-karlsruhe.de"),
        ("Fred <fred.infoman@univ.edu>", "fred.infoman@univ.edu"),
        ("timothy@gmail.com", "timothy@gmail.com"),
        ("user12345.wang@qq.com", "user12345.wang@qq.com"),
        ("DOMAIN\\fred@company-town.com", "fred@company-town.com"),
        ("anna@example-institute.de", "anna@example-institute.de"),
        ("li.ming@foo.mit.edu", "li.ming@foo.mit.edu"),
    ] {
        assert_eq!(kinds(text).first(), Some(&("email", value)), "{text}");
    }
}

#[test]
fn addresses_that_only_show_something_are_left_alone() {
    for text in [
        // Networks, their broadcast addresses, special purposes, resolvers.
        "the range 130.225.16.0 to 130.225.17.255 and 120.120.10.0/24",
        "6to4 relay 192.88.99.1, formerly 3ffe:1ebc::1, now 3fff:123:4::5",
        "nameserver 208.67.222.222 or 223.5.5.5, 114.114.114.114, 2001:4860:4860::8888; restricted 199.36.153.5",
        // Made by rule.
        "11.22.33.44 and 1.234.56.78 and 111.11.11.1",
        // Settings.
        "curl --interface 203.98.76.54 --dns-ipv6-addr 2a04:4e42::561 x",
        "--ip\\-address=208.117.254.233 \\-\\-ip\\-mask=31 \\-\\-host='35.188.150.50'",
        "ssh -L 80:162.222.181.197:80 host",
        "echo 193.8.232.2:193.8.232.7::255.255.255.0:idefix",
        "{\"address\":\"196.20.0.1\", \"netmask\":\"255.255.255.0\"}",
        // Servers of public names.
        "mirrors.kernel.org: 139.178.88.99",
        "PING www.google.ca (74.125.225.120) 56(84) bytes of data.",
        "146.82.138.7    master.debian.org      master",
        // Said to be examples.
        "For example, the host 203.98.76.54",
        "例如主机203.98.76.54",
        "java\\-1.8.0\\-openjdk\\-1.8.0.121\\-0.b13.el7",
        // Once an example, an example in the whole text.
        "The host 203.98.76.54 answers; its address (an example) is 203.98.76.54 here.",
        // Versions, sections, object identifiers.
        "update V8 to 9.4.146.26 from 9.4.146.24",
        "Require inputproto 1.9.99.6; ObjectIdentifier(\"2.5.29.46\")",
        "3.43.1.1 Why do tests complain?",
        // Groups and masks of IPv6, a resolver with its port, a server of the root.
        "ff02:0:0:0:0:0:0:12b ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2606:4700:4700::1111:443 2001:500:3::42",
        // Sizes: 16 and 17 gibibytes.
        "write-threshold: 17179869184, total 18253611008",
    ] {
        assert_eq!(kinds(text), [], "{text}");
    }
    for (text, value) in [
        ("Failed login from ppp-12-34.dsl7.isp.net (81.98.76.54)", "81.98.76.54"),
        ("203.98.76.54 - - [24/Nov/2026:10:30:00] \"GET / HTTP/1.1\" 200", "203.98.76.54"),
        ("client=203.98.76.54 port 22", "203.98.76.54"),
        ("她的地址是 203.98.76.54，请保密。", "203.98.76.54"),
        ("login from host 4.150.156.3 failed", "4.150.156.3"),
        ("4.150.156.3 - - [01/Apr/2020:06:31:51 +0000] message 1", "4.150.156.3"),
        ("people came to the weaver.\nRecord: 25.14.132.98, confirmed.", "25.14.132.98"),
        ("see ftp://12.34.99.78 for it", "12.34.99.78"),
        ("write to alice52@example.com\nRecord: 25.14.132.98, confirmed.", "25.14.132.98"),
        ("at 2001:4860:1:2:3:4:5:8888 ok", "2001:4860:1:2:3:4:5:8888"),
    ] {
        assert_eq!(kinds(text), [("ip_address", value)], "{text}");
    }
    assert_eq!(kinds("手机17179869185"), [("phone", "17179869185")]);
}

#[test]
fn redaction_keeps_everything_else() {
    let text = "王先生（手机13812345678，邮箱 a@b.cn）说：好。";
    assert_eq!(redact(text, &scan(text)), "王先生（手机[PHONE]，邮箱 [EMAIL]）说：好。");
    assert_eq!(scan_without(text, &["email".into()]).len(), 1);
}

#[test]
fn a_key_block_goes_whole() {
    let key = format!(
        "x -----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY----- y",
        "MIIEowIBAAKCAQEA75".repeat(4)
    );
    assert_eq!(redact(&key, &scan(&key)), "x [API_KEY] y");
}

#[test]
fn marks_without_keys_take_no_longer_than_other_text() {
    // Eight megabytes: minutes if every mark looked back through the whole text.
    let marks = "PRIVATE KEY-----é".repeat(500_000);
    assert_eq!(scan(&marks), []);
    let key = format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----", "Ab3".repeat(20));
    assert_eq!(scan(&format!("{marks}{key}")).len(), 1);
}

#[test]
fn every_kind_has_its_own_placeholder() {
    let mut placeholders: Vec<&str> = KINDS.iter().map(|k| k.placeholder).collect();
    placeholders.sort_unstable();
    placeholders.dedup();
    assert_eq!(placeholders.len(), KINDS.len());
    // Redacting twice changes nothing.
    assert!(KINDS.iter().all(|k| scan(k.placeholder).is_empty()));
}

proptest::proptest! {
    #[test]
    fn spans_are_valid_and_apart(text in "[0-9@.:+() a-fA-F中\\-]{0,120}") {
        let found = scan(&text);
        let mut end = 0;
        for finding in &found {
            proptest::prop_assert!(finding.span.start >= end && text.get(finding.span.clone()).is_some());
            end = finding.span.end;
        }
        redact(&text, &found);
    }
}
