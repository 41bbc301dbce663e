use super::*;

fn login(email: &str) -> Login {
    Login {
        email: email.parse().unwrap(),
        token: Secret::new(format!("token of {email}")),
    }
}

fn server(text: &str) -> ServerUrl {
    text.parse().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_is_kept_is_read_back_and_is_the_owner_s_alone() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("deep/fairway");
    let mut credentials = Credentials::read(Some(&directory)).unwrap();
    assert_eq!(credentials, Credentials::default());
    credentials.keep(&server("http://localhost:7000"), login("ada@example.com"));
    let path = credentials.write(Some(&directory)).unwrap();
    // A file that somebody opened up is closed again.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    credentials.keep(
        &server("https://f.example.com/"),
        login("grace@example.com"),
    );
    credentials.write(Some(&directory)).unwrap();
    assert_eq!((mode(&directory), mode(&path)), (0o700, 0o600));
    let read = Credentials::read(Some(&directory)).unwrap();
    assert_eq!(read, credentials);
    assert_eq!(read.default_server(), Some(server("https://f.example.com")));
    assert_eq!(
        read.login(&server("http://localhost:7000/")),
        Some(&login("ada@example.com"))
    );
    let left: Vec<_> = fs::read_dir(&directory).unwrap().collect();
    assert_eq!(left.len(), 1, "a temporary file was left behind");
}

#[test]
fn forgetting_a_server_makes_another_the_default() {
    let mut credentials = Credentials::default();
    credentials.keep(&server("http://a.example"), login("a@example.com"));
    credentials.keep(&server("http://b.example"), login("b@example.com"));
    assert_eq!(
        credentials.forget(&server("http://b.example")),
        Some(login("b@example.com"))
    );
    assert_eq!(
        credentials.default_server(),
        Some(server("http://a.example"))
    );
    assert_eq!(credentials.forget(&server("http://b.example")), None);
    credentials.forget(&server("http://a.example"));
    assert_eq!(credentials, Credentials::default());
}

#[test]
fn a_damaged_file_is_named_and_its_content_is_not_told() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join(FILE_NAME), "token = \"hunter2").unwrap();
    let failure = Credentials::read(Some(home.path())).unwrap_err();
    assert!(
        failure.message.contains("credentials.toml is damaged"),
        "{failure:?}"
    );
    assert!(!format!("{failure:?}").contains("hunter2"));
}
