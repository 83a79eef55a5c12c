"""The report: services and databases, histories, entities, evidence and ledgers, as a page and as Markdown."""
