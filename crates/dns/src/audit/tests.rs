//! Audits of zones as text.

use super::*;
use crate::zonefile;

fn audit(text: &str, sources: &[&str], ca: Option<&str>) -> Audit {
    let head = "@ 600 IN SOA ns1 host 7 1h 15m 30d 300\n@ 3600 NS ns1\nns1 300 A 192.0.2.53\n";
    let zone = format!("{head}{text}");
    let read = zonefile::read("example.test", "zone", zone.as_bytes(), &mut |_| Err("none".into()));
    let read = read.unwrap_or_else(|faults| panic!("{}", faults[0]));
    let apex = crate::sets::owner("example.test").unwrap();
    let sources: Vec<IpAddr> = sources.iter().map(|text| text.parse().unwrap()).collect();
    Audit::of(&apex, &read.contents, [].into(), &sources, ca)
}

#[test]
fn tells_ttls_by_type() {
    let audit = audit("a 86400 A 192.0.2.1\nb 60 A 192.0.2.2\nc 60 A 192.0.2.3\n", &[], None);
    let rows: Vec<_> = audit.ttls.iter().map(|r| (r.rtype.as_str(), r.ttl_s, r.sets)).collect();
    assert_eq!(rows, [("A", 86400, 1), ("A", 300, 1), ("A", 60, 2), ("NS", 3600, 1)]);
    assert_eq!(audit.negative_ttl_s, 300);
    assert_eq!(audit.records, 5);
}

#[test]
fn finds_every_record_that_leads_to_the_source() {
    let text = "\
@ 60 A 192.0.2.1
www 60 CNAME @
shop 60 CNAME www
far 60 A 192.0.2.99
@ 60 MX 10 mail
mail 60 A 192.0.2.1
_sip._tcp 60 SRV 0 0 5060 mail
@ 60 TXT \"v=spf1 ip4:192.0.2.0/28 -all\"
news 60 TXT \"v=spf1 a:mail.example.test -all\"
note 60 TXT \"the box is 192.0.2.1\"
other 60 TXT \"v=spf1 ip4:198.51.100.0/24 -all\"
sub 60 NS ns.sub
ns.sub 60 A 192.0.2.1
@ 60 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1
v6 60 AAAA 2001:db8::1
";
    let audit = audit(text, &["192.0.2.1", "2001:db8::1"], None);
    let found: Vec<String> =
        audit.pointers.iter().map(|p| format!("{} {}", p.name, p.rtype)).collect();
    for wanted in [
        "example.test A",
        "www.example.test CNAME",
        "shop.example.test CNAME",
        "example.test MX",
        "mail.example.test A",
        "_sip._tcp.example.test SRV",
        "example.test TXT",
        "news.example.test TXT",
        "note.example.test TXT",
        "sub.example.test NS",
        "ns.sub.example.test A",
        "example.test HTTPS",
        "v6.example.test AAAA",
    ] {
        assert!(found.contains(&wanted.to_owned()), "{wanted} in {found:?}");
    }
    assert_eq!(found.len(), 13, "{found:?}");
}

#[test]
fn finds_records_that_lead_nowhere() {
    let text = "\
a 60 CNAME gone
@ 60 MX 10 gone2
@ 60 MX 20 alias
alias 60 CNAME ns1
bare 60 TXT x
@ 60 MX 30 bare
sub 60 NS ns.sub
good 60 CNAME x.wild
*.wild 60 A 192.0.2.7
out 60 CNAME host.example.org.
null 60 MX 0 .
del 60 NS ns.del
ns.del 60 A 192.0.2.8
";
    let audit = audit(text, &[], None);
    let found: Vec<String> =
        audit.dangling.iter().map(|d| format!("{} {} {}", d.name, d.rtype, d.why)).collect();
    assert_eq!(found.len(), 5, "{found:#?}");
    for wanted in [
        "a.example.test CNAME `gone.example.test` does not exist",
        "example.test MX `gone2.example.test` does not exist",
        "example.test MX `alias.example.test` is an alias",
        "example.test MX `bare.example.test` has no address",
        "sub.example.test NS `ns.sub.example.test` lies below the delegation",
    ] {
        assert!(found.iter().any(|line| line.starts_with(wanted)), "{wanted} in {found:#?}");
    }
    assert!(audit.unknown.iter().any(|u| u.contains("host.example.org")), "{:?}", audit.unknown);
}

#[test]
fn counts_the_questions_of_spf() {
    let eleven = (0..11).map(|n| format!("include:s{n}.x.test ")).collect::<String>();
    let text = format!(
        "@ 60 TXT \"v=spf1 a mx include:part.example.test -all\"\n\
         part 60 TXT \"v=spf1 include:out.example.org ip4:192.0.2.1 exists:%{{i}}.x.test\"\n\
         many 60 TXT \"v=spf1 \" \"{eleven}-all\"\n\
         two 60 TXT \"v=spf1 -all\"\n\
         two 60 TXT \"v=spf1 ~all\"\n\
         no 60 TXT \"v=spf10 a\"\n"
    );
    let audit = audit(&text, &[], None);
    let of = |name: &str| audit.spf.iter().find(|s| s.name == name).unwrap();
    let top = of("example.test");
    assert_eq!(
        (top.lookups, top.uncounted.as_slice()),
        (5, ["out.example.org".to_owned()].as_slice())
    );
    assert!(top.wrong.is_none());
    assert!(of("many.example.test").wrong.as_ref().unwrap().contains("11 questions"));
    assert!(of("two.example.test").wrong.as_ref().unwrap().contains("2 SPF records"));
    assert!(!audit.spf.iter().any(|s| s.name == "no.example.test"));
}

#[test]
fn tells_who_may_issue_certificates() {
    let text = "\
@ 60 CAA 0 issue \"letsencrypt.org; validationmethods=dns-01\"
@ 60 CAA 0 issuewild \";\"
shut 60 CAA 0 issue \";\"
mail 60 CAA 0 iodef \"mailto:a@example.test\"
";
    let audit = audit(text, &[], Some("LetsEncrypt.org"));
    let of = |name: &str| audit.caa.iter().find(|c| c.name == name).unwrap();
    assert_eq!(of("example.test").issuers, ["letsencrypt.org"]);
    assert_eq!(of("example.test").allows_ours, Some(true));
    assert!(of("example.test").wildcard_issuers.is_empty());
    assert_eq!(of("shut.example.test").allows_ours, Some(false));
    assert_eq!(of("mail.example.test").allows_ours, Some(true));
}

#[test]
fn tells_what_is_wrong_with_signing() {
    let key = "@ 60 DNSKEY 257 3 13 \
               mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==\n";
    let mut signing = audit(key, &[], None).signing;
    assert!(signing.signed());
    // The key is cloudflare.com's, known in the root of trust by this tag.
    assert_eq!(signing.keys[0].tag, 2371);
    assert_eq!(signing.wrong, ["keys, and no signature"]);
    signing.with_ds(vec![ZoneKey { tag: 1, algorithm: 13, entry_point: true }]);
    assert!(signing.wrong[1].contains("bogus"));
    let mut plain = audit("", &[], None).signing;
    plain.with_ds(Vec::new());
    assert_eq!(plain.wrong, [""; 0]);
    plain.with_ds(vec![ZoneKey { tag: 1, algorithm: 13, entry_point: true }]);
    assert!(plain.wrong[0].contains("bogus"));
}
