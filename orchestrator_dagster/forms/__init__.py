"""Forms as run config: the pages of a form generator take a flat mapping, and every error is reported at once."""

from orchestrator_dagster.forms.page import FormPage, SubmitFormPage
from orchestrator_dagster.forms.walk import FormWalk, Page, walk

__all__ = ["FormPage", "FormWalk", "Page", "SubmitFormPage", "walk"]
