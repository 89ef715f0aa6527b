import t from 'tap';
import { worstStates } from '../../src/control-plane/source-health.ts';

t.test('a source is as well as the process where it is worst', (t) => {
  const first = [
    '# TYPE sallyport_source_state gauge',
    'sallyport_source_state{source="ledger"} 1',
    'sallyport_source_state{source="acme/ledger"} 3',
    'sallyport_source_state{source="odd \\"name\\"",otel_scope_name="x"} 2',
  ].join('\n');
  const second = 'sallyport_source_state{otel_scope_name="x",source="ledger"} 2\nsallyport_other{source="ledger"} 3';
  t.same(
    [...worstStates([first, second], 'default')].map(([, state]) => state),
    ['failing', 'failing'],
  );
  t.same(worstStates([first, second], 'acme'), new Map([['ledger', 'open']]));
  t.same(worstStates([], 'default'), new Map());
  t.end();
});
