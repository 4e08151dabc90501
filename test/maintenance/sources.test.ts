import { Readable } from 'node:stream'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import type { Row } from '../../src/maintenance/engine.ts'
import { allVersions, countObjects, namedObjects } from '../../src/maintenance/sources.ts'
import { BucketClient } from '../../src/store-client/bucket-client.ts'
import type { UpstreamRequest } from '../../src/upstream/types.ts'

const version = (key: string, id: string): string => `<Version><Key>${key}</Key><VersionId>${id}</VersionId><IsLatest>true</IsLatest><Size>1</Size></Version>`
const listing = (rows: string, next = ''): string =>
  `<ListVersionsResult><IsTruncated>${String(next !== '')}</IsTruncated>${
    next === '' ? '' : `<NextKeyMarker>${next}</NextKeyMarker>`
  }${rows}</ListVersionsResult>`

function storeOf(answer: (query: ReadonlyMap<string, string | null>) => string): BucketClient {
  const request = ({ query }: UpstreamRequest) =>
    Promise.resolve({ status: 200, headers: new HeaderList([]), body: Readable.from([Buffer.from(answer(new Map(query)))]) })
  return new BucketClient({ request, close: () => Promise.resolve() }, 'bucket', new AbortController().signal)
}

async function namesOf(source: AsyncIterable<readonly Row[]>): Promise<(readonly [key: string, versionId: string | null])[]> {
  const names: (readonly [string, string | null])[] = []
  for await (const page of source) for (const { key, versionId } of page) names.push([key, versionId])
  return names
}

await t.test('a bucket that never kept versions is listed by its objects, whatever the store says of its versions', async (t) => {
  const store = storeOf((query) =>
    query.has('versioning')
      ? '<VersioningConfiguration/>'
      : query.has('versions')
      ? listing('')
      : '<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>a</Key><Size>1</Size></Contents></ListBucketResult>'
  )
  t.strictSame(await namesOf(allVersions(store, '')), [['a', null]])
})

await t.test('a row that a store repeats on the next page is one row', async (t) => {
  for (const status of ['Enabled', 'Suspended']) {
    const store = storeOf((query) =>
      query.has('versioning')
        ? `<VersioningConfiguration><Status>${status}</Status></VersioningConfiguration>`
        : query.has('key-marker')
        ? listing(version('b', '0') + version('b', '1'))
        : listing(version('a', '1') + version('b', '1'), 'b')
    )
    t.strictSame(await namesOf(allVersions(store, '')), [['a', '1'], ['b', '1'], ['b', '0']])
    t.strictSame(await countObjects(store, '', true), { objects: 3, noncurrent: 0 })
  }
})

await t.test('names, with versions, and lines of a report', async (t) => {
  const lines = ['a', '', 'b\tv1', '{"key":"line\\nend","versionId":null}', '{"key":"c","versionId":"v2","state":"plaintext"}', '{"no": "name"}', '{"torn']
  const named = await namesOf(namedObjects(Readable.from([lines.join('\r\n')])))
  t.strictSame(named, [['a', null], ['b', 'v1'], ['line\nend', null], ['c', 'v2'], ['{"no": "name"}', null], ['{"torn', null]])
})
