use super::{policy_of, refused};

#[test]
fn refuses_splits() {
    type Change = fn(&mut segue_model::plan::SplitPlan);
    let changes: [(&str, Change, &[&str]); 9] = [
        ("no shares", |s| s.shares.clear(), &["SG0737 policy.split.shares"]),
        ("falling", |s| s.shares = vec![50, 5], &["SG0737 policy.split.shares"]),
        ("above all", |s| s.shares = vec![5, 101], &["SG0737 policy.split.shares"]),
        ("no time", |s| s.dwell_s = 0, &["SG0737 policy.split.dwell_s"]),
        ("longest is shorter", |s| s.longest_s = 299, &["SG0737 policy.split.longest_s"]),
        ("no margin", |s| s.failing_margin = f64::NAN, &["SG0737 policy.split.failing_margin"]),
        ("always an alarm", |s| s.false_alarm = 0.2, &["SG0737 policy.split.false_alarm"]),
        ("no worse at all", |s| s.p95_factor = 1.0, &["SG0737 policy.split.p95_factor"]),
        ("no cookie", |s| s.cookie = "a;b".into(), &["SG0737 policy.split.cookie"]),
    ];
    for (name, change, wanted) in changes {
        let mut plan = super::example();
        let policy = policy_of(&mut plan);
        policy.harmless_paths = vec!["/static/".into()];
        let mut split = crate::defaults::split();
        change(&mut split);
        policy.split = Some(split);
        let found: Vec<String> =
            crate::check(&plan).iter().map(|p| format!("{} {}", p.code, p.key)).collect();
        assert_eq!(found, wanted, "{name}");
    }
    refused(&[
        (
            "nothing may leave",
            |p| policy_of(p).split = Some(crate::defaults::split()),
            &["SG0737 policy.split"],
        ),
        (
            "slow and harmless",
            |p| {
                policy_of(p).slow_paths = vec!["/a".into()];
                policy_of(p).harmless_paths = vec!["/a".into()];
            },
            &["SG0725 policy.harmless_paths"],
        ),
    ]);
}
