//! Signatures made by the tools that others sign images with, skopeo and cosign of Debian 13, in Debian's registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use functional::{
    Built, Cosign, DockerRegistry, Env, Image, Run, User, missing_program, signing_tools, skip,
};

/// What protects the private keys.
const PASSPHRASE: &str = "open sesame";

/// Who makes signatures: two key pairs of each tool, an image, a registry.
struct Signer {
    tools: PathBuf,
    env: Env,
    registry: DockerRegistry,
    image: Built,
}

impl Signer {
    fn new(test: &str) -> Option<Self> {
        if let Some(program) = missing_program(&DockerRegistry::PROGRAMS) {
            skip(test, &format!("{program} is not installed"));
            return None;
        }
        let tools = signing_tools(test)?;
        let signer = Self {
            tools,
            env: Env::new(User::Caller),
            registry: DockerRegistry::start(),
            image: Image::inspect().build(),
        };
        let scratch = |name: &str| signer.env.scratch(name);
        signer.image.write_layout(&scratch("image"), "image");
        signer.env.write("passphrase", PASSPHRASE);
        std::fs::create_dir(scratch("registries.d")).unwrap();
        let attach = "default-docker: {use-sigstore-attachments: true}\n";
        signer.env.write("registries.d/all.yaml", attach);
        std::fs::create_dir(scratch("docker")).unwrap();
        let auth = signer.registry.auth_file(&signer.registry.host());
        signer.env.write("docker/config.json", auth);
        for key in ["skopeo", "skopeo-other"] {
            signer.skopeo(&[
                "generate-sigstore-key",
                "--passphrase-file=passphrase",
                &format!("--output-prefix={key}"),
            ]);
        }
        for key in ["cosign", "cosign-other"] {
            let prefix = format!("--output-key-prefix={key}");
            signer.cosign(&["generate-key-pair", &prefix], &[]);
        }
        Some(signer)
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = self.env.program(self.tools.join(name));
        command
            .current_dir(self.env.scratch(""))
            .env("SSL_CERT_FILE", self.registry.authority())
            .env("DOCKER_CONFIG", self.env.scratch("docker"))
            .env("COSIGN_PASSWORD", PASSPHRASE);
        command
    }

    fn skopeo(&self, arguments: &[&str]) {
        let mut command = self.tool("skopeo");
        command
            .args(["--insecure-policy", "--registries.d=registries.d"])
            .args(arguments);
        Run::of(command).success();
    }

    /// Runs cosign without its transparency log, which is on the network.
    fn cosign(&self, arguments: &[&str], variables: &[(&str, &str)]) {
        let mut command = self.tool("cosign");
        command.args(arguments).envs(variables.iter().copied());
        Run::of(command).success();
    }

    /// Pushes the image, signed by skopeo when there are options for that.
    fn push(&self, name: &str, options: &[&str]) -> String {
        let name = self.registry.name(name);
        let target = format!("docker://{name}");
        let push = self.registry.skopeo_options();
        let push: Vec<&str> = push.iter().map(String::as_str).collect();
        let what = ["copy", "--preserve-digests", "oci:image:image", &target];
        self.skopeo(&[&what[..], &push, options].concat());
        name
    }

    /// The image by its digest, as cosign wants it.
    fn pinned(&self, repository: &str) -> String {
        let name = format!("{repository}@{}", self.image.digest());
        self.registry.name(&name)
    }

    fn key(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.env.scratch(&format!("{name}.pub"))).unwrap()
    }

    /// A user who trusts the key `key` for everything in the registry, and may read it.
    fn user(&self, user: User, key: &str) -> Env {
        let env = Env::new(user);
        self.registry.log_in(&env);
        let file = env.write("key.pub", self.key(key));
        trust(&env, &self.registry.host(), &file);
        env
    }

    fn run(&self, env: &Env, options: &[&str], name: &str) -> Run {
        let words = [&["run"], options, &[name, "--", "exit", "7"]].concat();
        let mut command = env.command(&words);
        command.env("SSL_CERT_FILE", self.registry.authority());
        Run::of(command)
    }

    /// The image `name` runs for whoever trusts `key`, also offline afterwards, and for nobody who trusts `other`.
    fn holds(&self, name: &str, key: &str, other: &str) {
        for user in User::all() {
            let env = self.user(user, other);
            self.run(&env, &[], name)
                .fails(&[name, "is not trusted", "not the scope's"]);
            let env = self.user(user, key);
            self.run(&env, &[], name).exits(7);
            self.run(&env, &["--pull=never"], name).exits(7);
        }
    }
}

fn trust(env: &Env, prefix: &str, key: &Path) {
    let key = key.to_str().unwrap();
    env.skua(&["trust", "add", "--prefix", prefix, key])
        .success();
}

#[test]
fn what_skopeo_signs_runs_under_its_tag_and_no_other() {
    let Some(signer) = Signer::new("what_skopeo_signs_runs_under_its_tag_and_no_other") else {
        return;
    };
    let options = [
        "--sign-by-sigstore-private-key=skopeo.private",
        "--sign-passphrase-file=passphrase",
    ];
    let name = signer.push("team/app:1", &options);
    signer.holds(&name, "skopeo", "skopeo-other");
    // The same image under a tag that skopeo has not signed.
    let moved = signer.push("team/app:2", &[]);
    let env = signer.user(User::ordinary(), "skopeo");
    signer
        .run(&env, &[], &moved)
        .fails(&["signed for tag 1, not 2"]);
    signer.run(&env, &[], &signer.pinned("team/app")).exits(7);
    // And in another repository, signatures and all.
    let there = signer.push("other/app:1", &[]);
    let signatures = Cosign::tag(signer.image.digest());
    let from = format!(
        "docker://{}",
        signer.registry.name(&format!("team/app:{signatures}"))
    );
    let to = format!(
        "docker://{}",
        signer.registry.name(&format!("other/app:{signatures}"))
    );
    let [creds, certificates] = signer.registry.skopeo_options();
    let source = [
        creds.replace("--dest", "--src"),
        certificates.replace("--dest", "--src"),
    ];
    let copy = ["copy", &creds, &certificates, &source[0], &source[1]];
    signer.skopeo(&[&copy[..], &[from.as_str(), &to]].concat());
    signer
        .run(&env, &[], &there)
        .fails(&["signed for repository", "team/app"]);
}

#[test]
fn what_cosign_signs_runs() {
    let Some(signer) = Signer::new("what_cosign_signs_runs") else {
        return;
    };
    let sign = ["sign", "--key=cosign.key", "--tlog-upload=false"];
    // By tag.
    let name = signer.push("tag/app:1", &[]);
    let pinned = signer.pinned("tag/app");
    signer.cosign(&[&sign[..], &[&pinned]].concat(), &[]);
    signer.holds(&name, "cosign", "cosign-other");
    // In the index under the tag that stands for a list of referrers, which this registry has not.
    let name = signer.push("referrers/app:1", &[]);
    let pinned = signer.pinned("referrers/app");
    let mode = "--registry-referrers-mode=oci-1-1";
    let experimental = [("COSIGN_EXPERIMENTAL", "1")];
    signer.cosign(&[&sign[..], &[mode, &pinned]].concat(), &experimental);
    signer.holds(&name, "cosign", "cosign-other");
}

#[test]
fn a_bundle_that_cosign_attaches_counts_when_it_signs_and_not_when_it_reports() {
    let test = "a_bundle_that_cosign_attaches_counts_when_it_signs_and_not_when_it_reports";
    let Some(signer) = Signer::new(test) else {
        return;
    };
    signer.env.write("predicate", "{}");
    let attest = [
        "attest",
        "--new-bundle-format",
        "--key=cosign.key",
        "--tlog-upload=false",
        "--predicate=predicate",
    ];
    let name = signer.push("team/app:1", &[]);
    let pinned = signer.pinned("team/app");
    signer.cosign(
        &[&attest[..], &["--type=https://example.org/report", &pinned]].concat(),
        &[],
    );
    let env = signer.user(User::ordinary(), "cosign");
    signer
        .run(&env, &[], &name)
        .fails(&["is not trusted", "it has none"]);
    let sign = "--type=https://sigstore.dev/cosign/sign/v1";
    signer.cosign(&[&attest[..], &[sign, &pinned]].concat(), &[]);
    signer.holds(&name, "cosign", "cosign-other");
}

#[test]
fn a_bundle_that_cosign_makes_of_a_manifest_is_a_detached_signature() {
    let test = "a_bundle_that_cosign_makes_of_a_manifest_is_a_detached_signature";
    let Some(signer) = Signer::new(test) else {
        return;
    };
    signer
        .env
        .write("manifest.json", &signer.image.manifest.bytes);
    signer.cosign(
        &[
            "sign-blob",
            "--new-bundle-format",
            "--bundle=bundle.json",
            "--key=cosign.key",
            "--tlog-upload=false",
            "manifest.json",
        ],
        &[],
    );
    let name = signer.push("team/app:1", &[]);
    let bundle = std::fs::read(signer.env.scratch("bundle.json")).unwrap();
    for user in User::all() {
        for (key, holds) in [("cosign-other", false), ("cosign", true)] {
            let env = signer.user(user, key);
            let bundle = env.write("bundle.json", &bundle);
            let option = format!("--signature={}", bundle.display());
            let run = signer.run(&env, &[&option], &name);
            if holds {
                run.exits(7);
                signer.run(&env, &["--pull=never"], &name).exits(7);
            } else {
                run.fails(&["bundle", "not the scope's"]);
            }
        }
    }
}
