//! The demo, small.

use std::fs;

use crate::world::World;

#[test]
fn the_demo_runs_and_keeps_what_it_made() {
    let world = World::new();
    world
        .run("demo --messages 2000 --media-mib 4 --keep kept")
        .is(0)
        .says("Not one differs")
        .says("guesses");
    world
        .run("--home kept/new-phone/home browse")
        .is(0)
        .says("newest");
    world
        .run("--home kept/new-phone/home --embedded-vault kept/vault status")
        .is(0)
        .says("10 guesses");
    world.run("demo --keep kept").is(4).says("new folder");
}

#[test]
fn the_demo_takes_a_folder_of_the_persons_own_and_answers_a_program() {
    let world = World::new();
    let before = fs::read(world.at("chats/notes.txt")).unwrap();
    let told = world.run("demo --source chats --json").is(0).json();
    assert_eq!(told["databases"], 1);
    assert_eq!(fs::read(world.at("chats/notes.txt")).unwrap(), before);
    assert_eq!(
        fs::read_dir(world.at("tmp")).unwrap().count(),
        0,
        "nothing is left"
    );
}
