"""The door: `connect` and `connect_async`."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic

from exeml.core import settings
from exeml.core.calls import Call, Pages, Steps, create, fetch, get
from exeml.core.modes import Asynchronous, Blocking, Bound, M, listing, operation
from exeml.core.resource import Record, make
from exeml.core.transports import AsyncTransport, BlockingTransport
from exeml.errors import Problem
from exeml.project import Project
from exeml.records import Account, Flavor, Team

PAGE = 500


class Client(Bound[M], Generic[M]):
    """A server, with the rights of one token."""

    def __init__(self, transport: Any, url: str) -> None:
        self._transport = transport
        self.url = url

    @operation
    def account(self) -> Steps[Account]:
        """The owner of the token, its scopes, and the owner's teams."""
        return Account.model_validate((yield from fetch(get("/account"))))

    @listing
    def teams(self) -> Pages[Team]:
        return Pages(get("/teams"), Team.model_validate)

    @listing
    def flavors(self) -> Pages[Flavor]:
        """The machines that a training can ask for."""
        return Pages(get("/flavors"), Flavor.model_validate)

    @listing
    def projects(self, *, team: Team | int | None = None, search: str = "") -> Pages[Project[M]]:
        """The projects that you see, the newest first."""
        team_id = team.id if isinstance(team, Team) else team
        call = get("/projects", limit=PAGE, team_id=team_id, search=search or None)
        return Pages(call, self._project)

    @operation
    def project(self, name: str | int) -> Steps[Project[M]]:
        """A project by its name or its id. Raises Problem (404), or 409 where several teams have the name."""
        if isinstance(name, int):
            return self._project((yield from fetch(get(f"/projects/{name}"))))
        call: Call | None = get("/projects", limit=PAGE, search=name)
        found: list[Project[M]] = []
        while call is not None:
            rows, call = Pages(call, self._project).split((yield from fetch(call)), 0)
            found += [project for project in rows if project.name.casefold() == name.casefold()]
        if not found:
            raise Problem(404, "Not found", f"You see no project “{name}”.")
        if len(found) > 1:
            ids = ", ".join(str(project.id) for project in found)
            raise Problem(
                409, "Several projects", f"Several teams have a project “{name}”: use an id ({ids})."
            )
        return found[0]

    @operation
    def create_project(
        self,
        name: str,
        *,
        team: Team | str | int | None = None,
        description: str = "",
        is_multi_label: bool = False,
    ) -> Steps[Project[M]]:
        """Create a project; without a team in the only one that you manage."""
        team_id = yield from self._team_id(team)
        body = {
            "team_id": team_id,
            "name": name,
            "description": description,
            "is_multi_label": is_multi_label,
        }
        return self._project((yield from fetch(create("/projects", body))))

    @operation
    def usage(self, team: Team | int, month: str = "") -> Steps[Record]:
        """What a team used in a month, such as 2026-07."""
        team_id = team.id if isinstance(team, Team) else team
        return Record.model_validate((yield from fetch(get(f"/teams/{team_id}/usage", month=month or None))))

    @operation
    def request(self, method: str, path: str, body: Any = None, /, **params: Any) -> Steps[Any]:
        """The JSON of any other operation; `path` is below /api/v1, such as "/teams/1/members"."""
        given = {name: value for name, value in params.items() if value is not None}
        return (yield from fetch(Call(method.upper(), path, params=given, body=body)))

    def _project(self, values: Any) -> Project[M]:
        return make(Project, values, self._transport, "")

    def _team_id(self, team: Team | str | int | None) -> Steps[int]:
        if isinstance(team, Team):
            return team.id
        if isinstance(team, int):
            return team
        account = Account.model_validate((yield from fetch(get("/account"))))
        teams = [each for each in account.teams if (each.name == team if team else each.role == "manager")]
        if len(teams) != 1:
            names = ", ".join(each.name for each in account.teams)
            raise Problem(409, "Which team?", f"Name one of your teams: {names or 'you are in none'}.")
        return teams[0].id

    # --- Its connections ---

    def close(self: Client[Blocking]) -> None:
        self._transport.close()

    async def aclose(self: Client[Asynchronous]) -> None:
        await self._transport.close()

    def __enter__(self: Client[Blocking]) -> Client[Blocking]:
        return self

    def __exit__(
        self: Client[Blocking],
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self: Client[Asynchronous]) -> Client[Asynchronous]:
        return self

    async def __aexit__(
        self: Client[Asynchronous],
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<exeml.Client of {self.url}>"


def connect(url: str | None = None, token: str | None = None) -> Client[Blocking]:
    """The server at `url`. What is not given comes from EXEML_URL and EXEML_TOKEN, or from `exeml login`.

    Nothing is called yet. Raises SettingsMissing.
    """
    url, token = settings.find(url, token)
    return Client(BlockingTransport(url, token), url)


def connect_async(url: str | None = None, token: str | None = None) -> Client[Asynchronous]:
    """As `connect`, for programs with asyncio: calls are awaited, lists are read with `async for`."""
    url, token = settings.find(url, token)
    return Client(AsyncTransport(url, token), url)
