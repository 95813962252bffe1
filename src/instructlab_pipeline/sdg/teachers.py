"""Who teaches and who judges: addresses and models, found and checked before the first call is paid for."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from instructlab_pipeline.errors import ServiceError, UsageError
from instructlab_pipeline.events import Events
from instructlab_pipeline.sdg.endpoint import Endpoint, Trouble, base_url, open_endpoint, shown
from instructlab_pipeline.sdg.scheduler import Patience

EXTRACTIVE = "builtin:extractive"
EXTRACTIVE_MODEL = "builtin-extractive"
FIRST_CONTACT = Patience(faults=4, first_delay_s=0.5, longest_delay_s=2.0)

WAYS_TO_A_TEACHER = (
    "set sdg_teacher_endpoint to one of\n"
    "  http://host:8000/v1     any server with the OpenAI API: vLLM, llama.cpp, Ollama, TGI, LiteLLM ...\n"
    "  https://...             a hosted model, with its key in OPENAI_API_KEY\n"
    "  builtin:extractive      a small rule-based writer for demonstrations; it is not a language model"
)


@dataclass(frozen=True, kw_only=True)
class Address:
    """What the parameters say about one role; `model` None: the only one that the endpoint serves."""

    role: str
    endpoint: str
    model: str | None


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """By role, teacher and judge: endpoints (the same object where the address is the same) and models."""

    endpoints: Mapping[str, Endpoint]
    models: Mapping[str, str]


def require_teacher(endpoint: str | None) -> str:
    """The teacher's address, without asking it anything.

    Raises:
        UsageError: there is none, or it is no address.
    """
    if not endpoint:
        raise UsageError(
            "no teacher writes the synthetic data: sdg_teacher_endpoint is not set", remedy=WAYS_TO_A_TEACHER
        )
    if endpoint.startswith("builtin:"):
        if endpoint != EXTRACTIVE:
            raise UsageError(f"sdg_teacher_endpoint={endpoint}: there is no such teacher", remedy=WAYS_TO_A_TEACHER)
        return endpoint
    return base_url(endpoint, parameter="sdg_teacher_endpoint")


@asynccontextmanager
async def open_teachers(teacher: Address, judge: Address, events: Events) -> AsyncIterator[Teachers]:
    """Endpoints that have answered once and serve the wanted models.

    Raises:
        UsageError: a model must be named. ServiceError: an endpoint is not there, or does not want us.
    """
    async with AsyncExitStack() as opened:
        wanted = EXTRACTIVE in (teacher.endpoint, judge.endpoint)
        extractive = await opened.enter_async_context(_extractive_url(wanted, events))
        endpoints: dict[str, Endpoint] = {}
        models = {}
        for address in (teacher, judge):
            url = _url(address, extractive)
            twin = next((endpoint for endpoint in endpoints.values() if endpoint.url == url), None)
            if twin is None:
                twin = await opened.enter_async_context(open_endpoint(address.role, url))
            endpoints[address.role] = twin
            models[address.role] = await _checked_model(twin, address)
        yield Teachers(endpoints=endpoints, models=models)


def model_of(address: Address) -> str:
    """The model behind an address; an endpoint is only asked where the parameters do not say."""
    if address.model:
        return address.model
    if address.endpoint == EXTRACTIVE:
        return EXTRACTIVE_MODEL
    return asyncio.run(_asked_model(address))


def contact(address: Address) -> str:
    """The model behind an address, which its endpoint is asked for in any case.

    Raises:
        UsageError: a model must be named. ServiceError: the endpoint is not there, or does not want us.
    """
    return EXTRACTIVE_MODEL if address.endpoint == EXTRACTIVE else asyncio.run(_asked_model(address))


async def _asked_model(address: Address) -> str:
    async with open_endpoint(address.role, _url(address, "")) as endpoint:
        return await _checked_model(endpoint, address)


@asynccontextmanager
async def _extractive_url(wanted: bool, events: Events) -> AsyncIterator[str]:
    if not wanted:
        yield ""
        return
    from instructlab_pipeline.sdg.extractive.server import serve

    events.point(
        "notice",
        message=f"{EXTRACTIVE} is a small rule-based writer, not a language model: for demonstrations only",
    )
    async with serve() as url:
        yield url


def _url(address: Address, extractive: str) -> str:
    if address.endpoint == EXTRACTIVE:
        return base_url(extractive, parameter=EXTRACTIVE)
    return base_url(address.endpoint, parameter=f"sdg_{address.role}_endpoint")


async def _checked_model(endpoint: Endpoint, address: Address) -> str:
    served = await _first_contact(endpoint)
    parameter = f"sdg_{address.role}_model"
    listed = ", ".join(served) or "it does not say which"
    if address.model is None:
        if len(served) == 1:
            return served[0]
        raise UsageError(
            f"{shown(endpoint.url)} serves {len(served)} models ({listed}): which one?", remedy=f"set {parameter}"
        )
    if served and address.model not in served:
        raise ServiceError(
            f"{shown(endpoint.url)} does not serve {address.model}; it serves: {listed}",
            remedy=f"set {parameter} to one of these",
        )
    return address.model


async def _first_contact(endpoint: Endpoint) -> list[str]:
    faults = 0
    while True:
        try:
            return await endpoint.models()
        except Trouble as trouble:
            faults += 1
            if faults == FIRST_CONTACT.faults:
                place = shown(endpoint.url)
                raise ServiceError(
                    f"the {endpoint.role} at {place} does not answer: {str(trouble).removeprefix(f'{place}: ')}",
                    remedy=f"start it, or correct sdg_{endpoint.role}_endpoint",
                ) from trouble
            await asyncio.sleep(FIRST_CONTACT.delay_s(faults))
