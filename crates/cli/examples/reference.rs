//! The reference of `mlp` as Markdown: every command with its help, as clap renders it.
//!
//! `make docs` puts it into the site: `cargo run -p mlplatform-cli --example reference`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let mut command = mlplatform_cli::command();
    command.build();
    let mut page = String::from(
        "# Reference of the command\n\n\
         Every command with its help, as `--help` prints it. Settings and output are the same everywhere: they stand with \
         the first.\n",
    );
    write_command(&mut page, &command, "");
    std::io::stdout().write_all(page.as_bytes())
}

fn write_command(page: &mut String, command: &clap::Command, prefix: &str) {
    let name = format!("{prefix}{}", command.get_name());
    let mut shown = command.clone().bin_name(&name);
    let level = if prefix.is_empty() { "##" } else { "###" };
    if !prefix.is_empty() {
        shown = shown.mut_args(|argument| {
            let global = argument.is_global_set();
            argument.hide(global)
        });
    }
    let help = shown.render_long_help().to_string();
    page.push_str(&format!("\n{level} {name}\n\n```text\n{}\n```\n", help.trim_end()));
    for inner in command.get_subcommands() {
        write_command(page, inner, &format!("{name} "));
    }
}
