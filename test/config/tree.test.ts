import t from 'tap'
import fc from 'fast-check'
import { parse } from 'yaml'
import { editTree } from '../../src/config/tree.ts'

const text = [
  '# head',
  'upstream: # the store',
  '  # where',
  '  endpoint: http://s # here',
  '  conditions:',
  '    put: true # claimed',
  '    copy: true',
  '  maxParts: 10000   # parts',
  '  sse:',
  'clients: [] # none',
  ''
].join('\n')

await t.test('sets and leaves out options, and changes nothing else', async (t) => {
  for (
    const [changes, expected] of [
      [{ 'upstream.maxParts': 1000 }, text.replace('10000', '1000')],
      [{ 'upstream.sse': 'AES256' }, text.replace('sse:', 'sse: AES256')],
      [{ 'upstream.lacks': ['acl', 'listV2'] }, text.replace('  endpoint', '  lacks: [acl, listV2]\n  endpoint')],
      [{ 'upstream.equalParts': true }, text.replace('  endpoint', '  equalParts: true\n  endpoint')],
      [{ 'upstream.conditions.put': null }, text.replace('    put: true # claimed\n', '')],
      [{ 'upstream.conditions.put': false }, text.replace('put: true', 'put: false')],
      [{ 'upstream.conditions.delete': true }, text.replace('    put:', '    delete: true\n    put:')],
      [{ 'upstream.absent': null }, text]
    ] as const
  ) t.equal(editTree(text, changes), expected, JSON.stringify(changes))
  const windows = text.replaceAll('\n', '\r\n')
  t.equal(editTree(windows, { 'upstream.equalParts': true }), windows.replace('  endpoint', '  equalParts: true\r\n  endpoint'))
  t.equal(editTree('{"upstream": {"endpoint": "http://s"}}\n', { 'upstream.maxParts': 5 }), '{ "upstream": { "endpoint": "http://s", maxParts: 5 } }\n')
})

await t.test('what is read of the new text is what was read of the old with the options set', async (t) => {
  const names = ['endpoint', 'maxParts', 'sse', 'equalParts', 'region'] as const
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...names), fc.oneof(fc.integer({ min: 0, max: 9 }), fc.boolean(), fc.constantFrom('AES256', 'none'), fc.constant(null))),
      (options) => {
        const changes = Object.fromEntries(Object.entries(options).map(([name, value]) => [`upstream.${name}`, value]))
        const { upstream, ...rest } = parse(text) as { readonly upstream: Readonly<Record<string, unknown>> }
        const wanted = Object.entries({ ...upstream, ...options }).filter(([name, value]) => value !== null || (name === 'sse' && !('sse' in options)))
        t.same(parse(editTree(text, changes)), { upstream: Object.fromEntries(wanted), ...rest })
      }
    ),
    { numRuns: 100 }
  )
})
