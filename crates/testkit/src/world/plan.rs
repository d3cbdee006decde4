//! A plan file that moves a world's shop.

use super::description::{Description, Side};

/// Short waits and triggers that a demo can show within seconds.
const POLICY: &str = r#"
[rehearsal]
needed = false

[policy]
slow_paths = ["/report"]
stable_for_s = 3
all_traffic_for_s = 3
verified_within_s = 600

[[trigger]]
name = "target_slow"
what = "response_p95_ms"
side = "target"
max = 250.0
for_ms = 3000
fresh_for_ms = 2000
min_samples = 3
min_count = 20
no_data = "ignore"
action = "fail_back"

[[trigger]]
name = "target_failing"
what = "failed_per_second"
side = "target"
max = 5.0
for_ms = 2000
fresh_for_ms = 2000
min_samples = 2
min_count = 1
no_data = "ignore"
action = "fail_back"

[[trigger]]
name = "target_database_gone"
what = "database_readable"
side = "target"
min = 1.0
for_ms = 2000
fresh_for_ms = 2000
min_samples = 2
min_count = 1
no_data = "ignore"
action = "fail_back"
"#;

impl Description {
    /// Returns a plan file for moving the shop from source to target.
    pub fn plan_toml(&self) -> String {
        let mut text = format!(
            "name = \"shop\"\n\n[unit]\nname = \"shop\"\nhosts = [\"{}\", \"www.{}\"]\n",
            self.host, self.zone.name
        );
        for side in Side::BOTH {
            text += &self.backend_toml(side);
        }
        for side in Side::BOTH {
            text += &self.front_toml(side);
        }
        text += &format!(
            "\n[database]\nschema = \"{}\"\nlogins = [\"{}\"]\n",
            self.database.schema, self.database.user
        );
        for side in Side::BOTH {
            let server = self.database.server(side);
            text += &format!(
                "\n[database.{side}]\naddress = \"{}\"\nadmin = \"{}\"\npassword = \"file:{}\"\n",
                server.address,
                server.admin,
                server.admin_password_file.display()
            );
        }
        text += &format!(
            "\n[[tree]]\nname = \"site\"\nsource = \"{}\"\ntarget = \"{}\"\nexclude = []\n",
            self.trees.source.display(),
            self.trees.target.display()
        );
        text += &self.zone_toml();
        text += &self.worker_toml();
        text += "\n[probe]\npath = \"/catalogue?page=1\"\nmarker = \"segue-shop catalogue\"\nper_second = 20\n";
        text + POLICY
    }

    fn backend_toml(&self, side: Side) -> String {
        format!(
            "\n[backend.{side}]\naddress = \"{}\"\nhealth_path = \"/healthz\"\naccess_log = \"{}\"\n\
             concurrency = 64\n",
            self.backend.get(side),
            self.access_log.get(side).display()
        )
    }

    fn front_toml(&self, side: Side) -> String {
        let run = self.dir.join("run");
        let take_over = match side {
            Side::Source => "take_over = true\negress = \"127.0.0.250\"\n",
            Side::Target => "",
        };
        format!(
            "\n[[front]]\nname = \"{side}\"\nside = \"{side}\"\nlisten = \"{}\"\n{take_over}\
             control = \"{run}/front-{side}.sock\"\nstate = \"{run}/front-{side}.json\"\n",
            self.site.get(side),
            run = run.display()
        )
    }

    fn zone_toml(&self) -> String {
        let servers: Vec<String> =
            self.zone.servers.iter().map(|server| format!("\"{server}\"")).collect();
        format!(
            "\n[[zone]]\nzone = \"{}\"\nprimary = \"{}\"\nservers = [{}]\nlowered_ttl_s = 2\n\
             key = {{ name = \"{}\", algorithm = \"{}\", secret = \"file:{}\" }}\n\n\
             [[zone.record]]\nname = \"{}\"\ntype = \"A\"\nsource = [\"{}\"]\ntarget = [\"{}\"]\n",
            self.zone.name,
            self.zone.primary,
            servers.join(", "),
            self.zone.key_name,
            self.zone.key_algorithm,
            self.zone.key_secret_file.display(),
            self.host,
            self.site.source.ip(),
            self.site.target.ip()
        )
    }

    fn worker_toml(&self) -> String {
        let mut text = "\n[[worker]]\nname = \"cron\"\n".to_owned();
        for side in Side::BOTH {
            text += &format!("\n[worker.{side}]\n");
            for word in ["stop", "start", "running"] {
                text += &format!(
                    "{word} = [\"{}\", \"cron-ctl\", \"--world\", \"{}\", \"--side\", \"{side}\", \"{word}\"]\n",
                    self.shop_program.display(),
                    self.path().display()
                );
            }
        }
        text
    }
}
