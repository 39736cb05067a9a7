"""The door: `connect` and `connect_async`."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Generic

from exeml.core import settings
from exeml.core.calls import Call, Pages, Steps, create, fetch, get, send
from exeml.core.modes import Asynchronous, Blocking, Bound, M, listing, operation
from exeml.core.resource import R, Record, make
from exeml.core.transports import AsyncTransport, BlockingTransport
from exeml.errors import Problem
from exeml.project import Project
from exeml.records import Account, Flavor, Team
from exeml.team import Member, ServiceAccount, Webhook, new_webhook

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
        return Record.model_validate(
            (yield from fetch(get(f"/teams/{_id(team)}/usage", month=month or None)))
        )

    # --- Members, service accounts and webhooks of a team ---

    @listing
    def members(self, team: Team | int) -> Pages[Member]:
        """The people of a team and its service accounts."""
        return Pages(get(f"/teams/{_id(team)}/members"), Member.model_validate)

    @operation
    def add_member(self, team: Team | int, username: str, role: str = "labeler") -> Steps[Member]:
        """Give an account a role in a team; `username` may be an e-mail that one account alone has."""
        body = {"username": username, "role": role}
        return Member.model_validate((yield from fetch(create(f"/teams/{_id(team)}/members", body))))

    @operation
    def change_member(self, team: Team | int, member: Member | int, role: str) -> Steps[Member]:
        """Give a member another role."""
        call = Call("PATCH", f"/teams/{_id(team)}/members/{_user_id(member)}", body={"role": role})
        return Member.model_validate((yield from fetch(call)))

    @operation
    def remove_member(self, team: Team | int, member: Member | int) -> Steps[None]:
        """Take somebody out of a team."""
        yield from send(Call("DELETE", f"/teams/{_id(team)}/members/{_user_id(member)}"))

    @listing
    def service_accounts(self, team: Team | int) -> Pages[ServiceAccount[M]]:
        """The service accounts of a team."""
        call = get(f"/teams/{_id(team)}/service-accounts")
        return Pages(call, lambda values: self._of_team(ServiceAccount, team, values))

    @operation
    def create_service_account(
        self, team: Team | int, name: str, role: str = "labeler"
    ) -> Steps[ServiceAccount[M]]:
        """Create a member of a team for a program; `create_token` of it makes its token."""
        call = create(f"/teams/{_id(team)}/service-accounts", {"name": name, "role": role})
        return self._of_team(ServiceAccount, team, (yield from fetch(call)))

    @listing
    def webhooks(self, team: Team | int) -> Pages[Webhook[M]]:
        """The webhooks of a team and of its projects, the newest first."""
        call = get(f"/teams/{_id(team)}/webhooks")
        return Pages(call, lambda values: self._of_team(Webhook, team, values))

    @operation
    def create_webhook(
        self, team: Team | int, url: str, events: Sequence[str] | None = None
    ) -> Steps[Webhook[M]]:
        """Tell an address of events in all projects of a team; without `events` of every one."""
        values = yield from new_webhook(f"/teams/{_id(team)}", url, events)
        return self._of_team(Webhook, team, values)

    def _of_team(self, kind: type[R], team: Team | int, values: Any) -> R:
        return make(kind, values, self._transport, f"/teams/{_id(team)}")

    # --- Everything else ---

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


def _id(team: Team | int) -> int:
    return team.id if isinstance(team, Team) else team


def _user_id(member: Member | int) -> int:
    return member if isinstance(member, int) else member.user_id
