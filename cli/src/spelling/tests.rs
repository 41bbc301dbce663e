use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(Into::into).collect()
}

#[test]
fn the_space_form_is_the_colon_form() {
    let spelling = Spelling::of(&crate::command());
    for (typed, expect) in [
        ("app ps scale web=2", "app ps:scale web=2"),
        ("app ps:scale web=2", "app ps:scale web=2"),
        ("app ps", "app ps"),
        ("app ps --json", "app ps --json"),
        ("app ps --json scale", "app ps:scale --json"),
        ("app -a shop ps scale web=2", "app -a shop ps:scale web=2"),
        (
            "app --app=shop ps -r fairway scale",
            "app --app=shop ps:scale -r fairway",
        ),
        ("app -ashop config get A", "app -ashop config:get A"),
        ("app config get A", "app config:get A"),
        ("app config set A=1", "app config:set A=1"),
        ("app releases rollback v3", "app releases:rollback v3"),
        ("app apps create shop", "app apps:create shop"),
        ("app git remote -a shop", "app git:remote -a shop"),
        ("app users add a@b.example", "app users:add a@b.example"),
        ("app auth login", "app auth:login"),
        // A command that takes words of its own keeps them.
        ("app run bash", "app run bash"),
        ("app run detached rake", "app run:detached rake"),
        ("app run -- detached", "app run -- detached"),
        ("app create info", "app create info"),
        ("app info shop", "app info shop"),
        ("app logs -t", "app logs -t"),
        // An option that is not global ends the guessing: its value may look like a verb.
        ("app logs -p web", "app logs -p web"),
        // A mistyped verb is reported as one.
        ("app ps scal web=2", "app ps:scal web=2"),
        ("app nonsense here", "app nonsense here"),
        ("app help ps scale", "app ps:scale --help"),
        ("app help ps:scale", "app ps:scale --help"),
        ("app help run", "app run --help"),
        ("app help", "app --help"),
        ("app", "app"),
        ("app -a", "app -a"),
    ] {
        assert_eq!(spelling.colon_form(words(typed)), words(expect), "{typed}");
    }
}

#[test]
fn every_colon_form_has_its_space_form() {
    let command = crate::command();
    let spelling = Spelling::of(&command);
    for subcommand in command
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        for name in std::iter::once(subcommand.get_name()).chain(subcommand.get_all_aliases()) {
            let spaced = words(&format!("app {}", name.replace(':', " ")));
            assert_eq!(spelling.colon_form(spaced), words(&format!("app {name}")));
        }
    }
}

#[test]
fn the_tree_for_shells_is_consistent_and_complete() {
    let command = crate::command();
    let tree = space_form(&command);
    for subcommand in command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        let mut place = Some(&tree);
        for word in subcommand.get_name().split(':') {
            place = place.and_then(|command| command.find_subcommand(word));
        }
        assert!(place.is_some(), "{} is missing", subcommand.get_name());
    }
    tree.debug_assert();
}

#[test]
fn words_that_are_no_text_are_left_alone() {
    use std::os::unix::ffi::OsStringExt;
    let typed = vec!["app".into(), OsString::from_vec(vec![0xff]), "scale".into()];
    assert_eq!(
        Spelling::of(&crate::command()).colon_form(typed.clone()),
        typed
    );
}
