//! A registry on the loopback interface (the pull half of the OCI distribution protocol), with authentication, faults
//! and a log of requests. std and threads only: it runs wherever the tests do.
//!
//! `mod.rs` content and life · `http.rs` requests and responses · `serve.rs` what is answered · `auth.rs` who may ask ·
//! `fault.rs` what goes wrong on purpose

mod auth;
mod fault;
mod http;
mod serve;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

pub use auth::Auth;
pub use fault::{Action, Fault};

use crate::{Built, Cosign, Key, sha256};

/// A registry; it ends when this is dropped.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What was asked and answered.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Header fields, names in lower case.
    pub headers: HashMap<String, String>,
    /// The status of the answer.
    pub status: u16,
}

#[derive(Debug, Default)]
struct Content {
    blobs: HashMap<String, Vec<u8>>,
    /// By repository and tag or digest: media type and bytes.
    manifests: HashMap<(String, String), (String, Vec<u8>)>,
    /// Descriptors of what refers to a digest.
    referrers: HashMap<String, Vec<Value>>,
    auth: Auth,
    tokens: Vec<auth::Token>,
    faults: Vec<Fault>,
    log: Vec<Request>,
}

#[derive(Debug, Default)]
struct Shared {
    content: Mutex<Content>,
    ended: AtomicBool,
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

impl Registry {
    /// An empty registry on a free port of 127.0.0.1, which anybody may ask.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port of 127.0.0.1"))
    }

    /// The same on a free port of the IPv6 loopback address; none when this machine has none.
    #[must_use]
    pub fn start_on_ipv6() -> Option<Self> {
        TcpListener::bind("[::1]:0").ok().map(Self::on)
    }

    fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.has_ended() {
                    break;
                }
                let shared = accepting.clone();
                thread::spawn(move || serve::connection(&shared, stream, address));
            }
        });
        Self { shared, address }
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `127.0.0.1:PORT/PATH`.
    #[must_use]
    pub fn name(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// Who may ask from now on.
    pub fn require(&self, auth: Auth) {
        self.shared.content().auth = auth;
    }

    /// What goes wrong from now on; earlier faults are matched first.
    pub fn fault(&self, fault: Fault) {
        self.shared.content().faults.push(fault);
    }

    /// Nothing goes wrong from now on.
    pub fn clear_faults(&self) {
        self.shared.content().faults.clear();
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.content().log.clone()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        self.shared.content().log.clear();
    }

    /// Stores a blob.
    pub fn put_blob(&self, bytes: &[u8]) -> String {
        let digest = sha256(bytes);
        self.replace_blob(&digest, bytes);
        digest
    }

    /// Stores `bytes` under `digest`, also when that is not theirs.
    pub fn replace_blob(&self, digest: &str, bytes: &[u8]) {
        self.shared
            .content()
            .blobs
            .insert(digest.to_owned(), bytes.to_vec());
    }

    /// Stores a manifest under a tag or digest, also when that is not its own.
    pub fn put_manifest(&self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) {
        self.shared.content().manifests.insert(
            (repository.to_owned(), reference.to_owned()),
            (media_type.to_owned(), bytes.to_vec()),
        );
    }

    /// Removes the manifest under a tag or digest.
    pub fn remove_manifest(&self, repository: &str, reference: &str) {
        let key = (repository.to_owned(), reference.to_owned());
        self.shared.content().manifests.remove(&key);
    }

    /// Stores an image as `repository:tag`; its full name.
    pub fn push(&self, repository: &str, tag: &str, image: &Built) -> String {
        for blob in image.blobs() {
            self.put_blob(&blob.bytes);
        }
        let manifest = &image.manifest;
        for reference in [tag, &manifest.digest] {
            self.put_manifest(repository, reference, &manifest.media_type, &manifest.bytes);
        }
        self.name(&format!("{repository}:{tag}"))
    }

    /// Stores signatures of the image `digest` in `repository`.
    pub fn push_signatures(&self, repository: &str, digest: &str, signatures: &Cosign) {
        let (manifest, blobs) = signatures.build();
        for blob in blobs.iter().chain([&manifest]) {
            self.put_blob(&blob.bytes);
        }
        for reference in [&Cosign::tag(digest), &manifest.digest] {
            self.put_manifest(repository, reference, &manifest.media_type, &manifest.bytes);
        }
    }

    /// Attaches a Sigstore bundle to `subject` as OCI 1.1 has it: a manifest that refers to it, in the list of referrers.
    pub fn attach(&self, repository: &str, subject: &str, bundle: &[u8]) {
        let descriptor = self.put_referrer(repository, subject, bundle);
        let mut content = self.shared.content();
        let list = content.referrers.entry(subject.to_owned()).or_default();
        list.push(descriptor);
    }

    /// Attaches a Sigstore bundle to `subject` as registries without a list of referrers have it: in an index under a tag.
    pub fn attach_by_tag(&self, repository: &str, subject: &str, bundle: &[u8]) {
        let list = index_of(&[self.put_referrer(repository, subject, bundle)]);
        self.put_manifest(repository, &subject.replace(':', "-"), INDEX, &list);
    }

    fn put_referrer(&self, repository: &str, subject: &str, bundle: &[u8]) -> Value {
        let kind = "application/vnd.dev.sigstore.bundle.v0.3+json";
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "artifactType": kind,
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": self.put_blob(b"{}"),
                "size": 2,
            },
            "layers": [{"mediaType": kind, "digest": self.put_blob(bundle), "size": bundle.len()}],
            "subject": {"mediaType": media_type, "digest": subject, "size": 1},
        });
        let manifest = manifest.to_string().into_bytes();
        let digest = sha256(&manifest);
        self.put_manifest(repository, &digest, media_type, &manifest);
        json!({"mediaType": media_type, "digest": digest, "size": manifest.len(), "artifactType": kind})
    }

    /// Stores an image and a signature of it by `key`; its full name.
    pub fn push_signed(&self, repository: &str, tag: &str, image: &Built, key: &Key) -> String {
        let identity = self.name(repository);
        let signatures = Cosign::new().sign(key, &identity, image.digest());
        self.push_signatures(repository, image.digest(), &signatures);
        self.push(repository, tag, image)
    }
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn index_of(manifests: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
        .to_string()
        .into_bytes()
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}
