"""Forms as run config: the pages of a form generator take a flat mapping, and every error is reported at once."""

from orchestrator_dagster.forms.page import FormGenerator, FormPage, InputForm, State, SubmitFormPage
from orchestrator_dagster.forms.walk import FormWalk, Page, walk

__all__ = ["FormGenerator", "FormPage", "FormWalk", "InputForm", "Page", "State", "SubmitFormPage", "walk"]
