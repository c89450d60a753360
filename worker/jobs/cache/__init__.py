"""Results of earlier requests, found again by what their pictures follow from."""
