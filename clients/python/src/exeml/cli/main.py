"""The commands together."""

from __future__ import annotations

import typer

from exeml.cli import account, images, operators, projects, services, trainings
from exeml.cli.output import EXIT_CODES

app = typer.Typer(
    name="exeml",
    help="The command line of exeml, the self-hosted image classifier.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("login")(account.login)
app.command("logout")(account.logout)
app.command("account")(account.show_account)
app.add_typer(projects.app, name="projects")
app.command("upload")(images.upload)
app.command("images")(images.list_images)
app.command("label")(images.label)
app.command("import")(images.import_file)
app.command("export")(images.export)
app.command("train")(trainings.train)
app.command("versions")(trainings.list_versions)
app.command("metrics")(trainings.show_metrics)
app.command("compare")(trainings.compare)
app.command("deploy")(services.deploy)
app.command("services")(services.list_services)
app.command("predict")(services.predict)
app.command("backup")(operators.backup)
app.command("mcp")(operators.serve_mcp)
