"""What every door takes and gives, as OpenAPI 3.1. Data only: it asks nobody and serves nobody."""
