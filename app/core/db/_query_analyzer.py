"""The query tools under the documents' names."""

from app.core.db._performance import track_performance
from app.core.db._query_cache import cache_result
from app.core.db._query_log import detect_n_plus_one, enable_query_logging
from app.core.db._query_plan import analyze_query_plan
from app.core.db._table_stats import get_table_stats


class QueryAnalyzer:
    """What statements do: in the log, in a session, at the server. Each function is explained where it is."""

    enable_query_logging = staticmethod(enable_query_logging)
    detect_n_plus_one = staticmethod(detect_n_plus_one)
    analyze_query_plan = staticmethod(analyze_query_plan)
    get_table_stats = staticmethod(get_table_stats)


class QueryDecorator:
    """Decorators for functions that ask the database."""

    track_performance = staticmethod(track_performance)
    cache_result = staticmethod(cache_result)
