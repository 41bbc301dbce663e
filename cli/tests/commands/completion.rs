//! Completion scripts, read by the shells that are here.

use std::process::Command as Process;

use crate::person::{Person, run};

#[test]
fn every_shell_gets_a_script() {
    let person = Person::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(&mut person.bare(&["completions", shell]));
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{shell}");
        assert!(done.stdout.contains("scale"), "{shell}");
    }
    assert_eq!(run(&mut person.bare(&["completions", "tcsh"])).code, 2);
}

#[test]
fn bash_completes_verbs() {
    let person = Person::new();
    let script = run(&mut person.bare(&["completions", "bash"])).stdout;
    let ask = "COMP_WORDS=(app ps sc); COMP_CWORD=2; _app app sc ps; echo \"${COMPREPLY[@]}\"";
    let output = Process::new("bash")
        .args(["-c", &format!("{script}\n{ask}")])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "scale\n",
        "{output:?}"
    );
}
