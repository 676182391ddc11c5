//! `make demo`: a signed image from a registry becomes a pod of two apps; what is not signed, or not what was signed,
//! does not. Shows each command and its output, and fails when one does not do what is expected.
//!
//! Runs as the caller; root's run is followed by one as an ordinary user. Everything is in a directory of its own below
//! /var/tmp, removed at the end.

use functional::{Built, Cosign, Env, Image, Key, Layer, Registry, Run, User, binaries, is_root};
use serde_json::json;

/// A user id that no distribution gives to anybody, for the ordinary user of root's demonstration.
const NOBODYS: u32 = 59_999;

fn main() {
    demonstrate(User::Caller);
    if is_root() {
        demonstrate(User::Number(NOBODYS));
    }
    title("Everything was as expected");
}

fn demonstrate(user: User) {
    title(&if user.is_root() {
        "As root".to_owned()
    } else {
        format!("As an ordinary user, uid {}", user.ids().0)
    });
    let demo = Demo::new(user);
    demo.signed_image_runs();
    demo.tampering_is_refused();
    demo.revoked_key_is_refused();
}

struct Demo {
    env: Env,
    registry: Registry,
    key: Key,
    image: Built,
}

impl Demo {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let key = Key::new(1);
        env.write("key.pem", key.public_pem());
        println!(
            "# key.pem is the public key of the image's maker; the registry is a loopback server of the tests\n\
             $ cd {}\n$ alias skua='{} --data-dir {} --config-dir {}'",
            env.scratch("").display(),
            binaries().join("skua").display(),
            env.data().display(),
            env.config().display()
        );
        let image = Image::inspect()
            .layer(Layer::new().file("etc/motd", 0o644, "hello from a signed image\n"))
            .set("Env", json!(["GREETING=hello"]))
            .build();
        Self {
            env,
            registry: Registry::start(),
            key,
            image,
        }
    }

    /// One command, shown with its output.
    fn skua(&self, arguments: &[&str]) -> Run {
        let mut command = self.env.command(arguments);
        command.current_dir(self.env.scratch(""));
        let run = Run::of(command);
        println!("\n$ skua {}", arguments.join(" "));
        print!("{}{}", run.stdout, run.stderr);
        println!("[exit status {}]", run.code().unwrap_or(-1));
        run
    }

    fn signed_image_runs(&self) {
        let name = self
            .registry
            .push_signed("demo/hello", "1", &self.image, &self.key);
        let prefix = self.registry.name("demo");
        self.skua(&["run", &name]).fails(&[&name]);
        self.skua(&["trust", "add", "--prefix", &prefix, "key.pem"])
            .success();
        self.skua(&["fetch", &name]).success();
        self.skua(&["run", &name, "--", "exit", "7"]).exits(7);
        // Two apps of one pod share a network; the client hears the server on the pod's own loopback interface.
        let address = "127.0.0.1:8080";
        let words = ["listen", address, "hello-from-the-server"];
        let pod = self.skua(
            &[
                &["run", "--name=pair", &name, "--name=server", "--"][..],
                &words,
                &["---", &name, "--name=client", "--", "connect", address],
            ]
            .concat(),
        );
        pod.success().says("hello-from-the-server");
        self.skua(&["list"]).success().says("pair");
        let status = self.skua(&["status", "--name=pair"]).success();
        status.says("server").says("client");
    }

    fn tampering_is_refused(&self) {
        println!("\n# demo/unsigned has no signature");
        let image = Image::inspect().cmd(&["print", "unsigned"]).build();
        let unsigned = self.registry.push("demo/unsigned", "1", &image);
        self.skua(&["fetch", &unsigned]).fails(&[&unsigned]);

        println!("\n# demo/moved carries the signature that was made for demo/hello");
        let moved = self.registry.push("demo/moved", "1", &self.image);
        let hello = self.registry.name("demo/hello");
        let signature = Cosign::new().sign(&self.key, &hello, self.image.digest());
        self.registry
            .push_signatures("demo/moved", self.image.digest(), &signature);
        self.skua(&["fetch", &moved]).fails(&[&moved]);

        println!("\n# demo/flipped is signed, but one bit of its layer was flipped afterwards");
        let image = Image::inspect()
            .layer(Layer::new().file("etc/issue", 0o644, vec![b'x'; 4096]))
            .build();
        let flipped = self
            .registry
            .push_signed("demo/flipped", "1", &image, &self.key);
        let layer = &image.layers[1];
        let mut bytes = layer.bytes.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.registry.replace_blob(&layer.digest, &bytes);
        self.skua(&["fetch", &flipped]).fails(&[]);
        self.skua(&["run", "--pull=never", &flipped]).fails(&[]);
    }

    fn revoked_key_is_refused(&self) {
        println!(
            "\n# the key is trusted no longer: the image in the store runs no more, and nobody is asked"
        );
        let name = self.registry.name("demo/hello:1");
        let prefix = self.registry.name("demo");
        self.skua(&["trust", "rm", "--prefix", &prefix, "key.pem"])
            .success();
        self.registry.forget_requests();
        self.skua(&["run", &name]).fails(&[&name]);
        assert!(
            self.registry.requests().is_empty(),
            "a refusal needs no network"
        );
    }
}

fn title(text: &str) {
    println!("\n=== {text} ===\n");
}
