"""What the plan became, in five lines that a person can read."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.engine.routing import Target
from gateway.services import Services
from gateway.version import VERSION

STRONG_KEYS = "ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY"


def plan_lines(services: Services, address: str) -> list[str]:
    """Exactly five."""
    tiers = services.router.tiers("auto")
    url = services.settings.classifier.url
    off = sorted(services.registry.off)
    return [
        f"Pointsman {VERSION} is ready at {address} "
        f"(health {address}/health, metrics {address}/metrics)",
        f"  auto    the classifier at {url} sends easy prompts to local, hard ones to strong",
        f"  local   {_tier(services, tiers['local'], 'nobody: start Ollama, or make run')}",
        f"  strong  {_tier(services, tiers['strong'], f'nobody: set one of {STRONG_KEYS}')}"
        + (f"  (off without a key or an address: {', '.join(off)})" if off else ""),
        f'  ask     curl -N {address}/complete -d \'{{"message": "Name three colours."}}\'',
    ]


def _tier(services: Services, targets: Sequence[Target], nobody: str) -> str:
    if not targets:
        return nobody
    return ", then ".join(_named(services, target) for target in targets)


def _named(services: Services, target: Target) -> str:
    health = services.registry.health.get(target.provider.name)
    if health is None or health.state in ("connected", "unchecked"):
        return target.name
    return f"{target.name} ({health.state})"
