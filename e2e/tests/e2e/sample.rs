//! Apps to push, as small as they can be: a Dockerfile on the stack image and a Python server.

use fairway_e2e::Repository;

/// A Dockerfile app whose root page is `text`.
pub(crate) fn docker_app(repository: &Repository, text: &str) -> anyhow::Result<()> {
    repository.write(
        "Dockerfile",
        "FROM fairway/run:bookworm\nWORKDIR /app\nCOPY . .\nCMD [\"python3\", \"server.py\"]\n",
    )?;
    repository.write("server.py", &server(text))?;
    repository.write(".dockerignore", ".git\n")
}

/// A server that answers with `text`, ends well on SIGTERM, and has a few pages for tests:
/// `/env/NAME`, `/slow` (2 s), `/exit`.
pub(crate) fn server(text: &str) -> String {
    format!(
        r#"import http.server, os, signal, sys, threading, time

class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path.startswith("/env/"):
            body = os.environ.get(self.path[5:], "unset")
        elif self.path == "/slow":
            time.sleep(2)
            body = "slow"
        elif self.path == "/exit":
            os._exit(3)
        else:
            body = {text:?}
        data = body.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, format, *args):
        print("page", self.path, flush=True)

server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Page)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening", flush=True)
server.serve_forever()
"#
    )
}
