#[test]
fn todo_props() {}
