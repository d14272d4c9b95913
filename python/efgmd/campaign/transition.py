"""The section `transition` of the campaign file."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from efgmd.campaign.section import Section


class OrderParameterChoice(Section):
    """A quantity that vanishes at a phase transition.

    Attributes
    ----------
    kind
        ``coupling`` (the size of a nucleus' mean tensor), ``splitting`` (of Cq between the sites of a nucleus),
        ``asymmetry`` (eta of a site) or ``strain`` (unequal lengths of the pseudo-cubic cell).
    nucleus
        For example ``14N``; needed for all but ``strain``.
    site
        Of a coupling or asymmetry, as it is named in results.json; by default every site, or the one of largest eta.
    """

    kind: Literal["coupling", "splitting", "asymmetry", "strain"]
    nucleus: str | None = None
    site: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> "OrderParameterChoice":
        if (self.nucleus is None) != (self.kind == "strain"):
            raise ValueError(f"kind {self.kind}: expected {'no' if self.kind == 'strain' else 'a'} nucleus")
        if self.site is not None and self.kind not in ("coupling", "asymmetry"):
            raise ValueError(f"kind {self.kind}: expected no site")
        return self


class Transition(Section):
    """How a phase transition is looked for.

    Attributes
    ----------
    order_parameters
        What vanishes above the transition. By default couplings that are zero at some temperature, the splitting and
        largest asymmetry of sites that merge at some temperature, and the strain where the cell's lengths vary and are
        equal within error, with right angles, at some temperature.
    law
        Laws over which the interval of Tc is taken: ``power`` (order parameter ~ (Tc - T)^exponent), ``first-order``
        (Landau's law with a jump) or ``any`` of the two.
    exponent
        Fixes the exponent of the power law: 0.25 for a tricritical order parameter, 0.5 for what is quadratic in it;
        free by default.
    """

    order_parameters: tuple[OrderParameterChoice, ...] | None = None
    law: Literal["any", "power", "first-order"] = "any"
    exponent: Annotated[float, Field(gt=0, le=3)] | None = None

    @model_validator(mode="after")
    def _one_law(self) -> "Transition":
        if self.exponent is not None and self.law == "first-order":
            raise ValueError("exponent: expected none with law first-order")
        return self
