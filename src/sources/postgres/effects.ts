/**
 * Functions that do something although the transaction is read-only and is rolled back: they change the server, its
 * files, its statistics, another session or this one, or run text as a statement. From pg_proc of PostgreSQL 18 and the
 * extensions that come with it. What a function of the database's own does, its role's privileges must limit.
 */
import { faultAt, type SqlFault } from '../sql/fault.ts';
import { tokenize } from '../sql/tokens.ts';

const ACTS = new RegExp(
  `^(?:${[
    // The session's settings, locks, random numbers and messages.
    'set_config|setseed|nextval|setval|pg_notify|pg_(?:try_)?advisory_\\w+|pg_export_snapshot|pg_stat_clear_snapshot',
    // Large objects and files.
    'lo_\\w+|loread|lowrite|pg_read_\\w*file|pg_ls_\\w+|pg_stat_file|pg_file_\\w+|pg_logdir_ls|pg_current_logfile',
    // The server as a whole, and other sessions.
    'pg_(?:terminate|cancel)_backend|pg_reload_conf|pg_rotate_logfile\\w*|pg_promote|pg_switch_(?:wal|xlog)|pg_log_\\w+',
    'pg_create_\\w+|pg_copy_\\w+|pg_drop_\\w+|pg_(?:start_|stop_)?backup(?:_start|_stop)?|pg_sync_\\w+|pg_wal_replay_\\w+',
    'pg_logical_\\w+|pg_replication_\\w+|pg_import_\\w+|pg_nextoid|binary_upgrade_\\w+|pg_extension_config_dump',
    'pg_stop_making_pinned_objects|pg_buffercache_(?:evict|mark_dirty)\\w*|autoprewarm_\\w+|brin_(?:de)?summarize_\\w+|gin_clean_pending_list|heap_force_\\w+|pg_truncate_\\w+',
    // Statistics.
    'pg_stat_reset\\w*|pg_stat_statements_reset|pg_stat_force_\\w+|pg_(?:clear|restore)_\\w+_stats',
    // Statements in strings, here or elsewhere.
    'query_to_xml\\w*|cursor_to_xml\\w*|ts_stat|ts_rewrite|dblink\\w*|crosstab\\w*|connectby|xpath_table',
  ].join('|')})$`,
);

/** The first of them that a statement calls, by whatever spelling. `text` is one that the scanner accepted. */
export function findEffect(text: string): SqlFault | undefined {
  const tokens = tokenize(text, 'postgres');
  for (const [index, token] of tokens.entries()) {
    if (token.kind !== 'word' && token.kind !== 'name') continue;
    const next = tokens[index + 1];
    if (next?.kind !== 'symbol' || next.text !== '(') continue;
    const written = text.slice(token.start, token.end);
    const name = token.kind === 'word' ? written.toLowerCase() : written.slice(1, -1);
    if (ACTS.test(name)) {
      return faultAt(text, token.start, `${name} does more than read, also in a read-only transaction: leave it out`);
    }
  }
  return undefined;
}
