"""Finds out what is wrong with a set-up, for ``kong-scim doctor``.

:mod:`.examination` looks at what it is given: the SCIM route, Kong's Admin API, a ``kong.yml``, the
plugin server's socket, logs. Each look adds findings to a :class:`.report.Report`. Texts that are
data are in two files: ``symptoms.yml`` has each symptom of the troubleshooting in
docs/operations.md, and ``providers.yml`` what each identity provider sends at first.
"""
