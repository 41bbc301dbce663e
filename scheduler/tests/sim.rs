#[test]
fn todo_sim() {}
