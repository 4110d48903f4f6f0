"""The paths of the API, a file for each group: `add(api, front)` puts them on the router."""
