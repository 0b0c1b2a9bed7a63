"""Write: operations and events become OpenTelemetry spans, through opentelemetry-api only.

`_operation` alone touches spans; the rooms (`reasoning`, `training`, `validation`, `tuning`, `history`, `pipeline`,
`deployment`) say what they mean.
"""
