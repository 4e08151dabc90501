import type { Scenario } from '../run.ts'
import type { Step } from '../side.ts'
import { get, head, list, put } from './steps.ts'

const big = Buffer.alloc(5 * 1024 * 1024, 'a')
const create = (key: string, name: string, headers: NonNullable<Step['headers']> = []): Step => ({
  method: 'POST',
  bucket: 'a',
  key,
  query: [['uploads', null]],
  headers,
  save: { [name]: 'UploadId' }
})
const part = (key: string, upload: string, number: number, body: string | Buffer, save = `e${number}`): Step => ({
  method: 'PUT',
  bucket: 'a',
  key,
  query: [['partNumber', String(number)], ['uploadId', `{${upload}}`]],
  body,
  bare: true,
  save: { [save]: 'header:etag' }
})
const complete = (key: string, upload: string, parts: readonly (readonly [number, string])[]): Step => ({
  method: 'POST',
  bucket: 'a',
  key,
  query: [['uploadId', `{${upload}}`]],
  bare: true,
  body: `<CompleteMultipartUpload>${
    parts.map(([number, etag]) => `<Part><PartNumber>${number}</PartNumber><ETag>${etag}</ETag></Part>`).join('')
  }</CompleteMultipartUpload>`
})
const parts = (key: string, upload: string, query: NonNullable<Step['query']> = []): Step => ({
  method: 'GET',
  bucket: 'a',
  key,
  query: [['uploadId', `{${upload}}`], ...query]
})
const abort = (key: string, upload: string): Step => ({ method: 'DELETE', bucket: 'a', key, query: [['uploadId', `{${upload}}`]] })
const partCopy = (key: string, upload: string, number: number, source: string, range?: string): Step => ({
  method: 'PUT',
  bucket: 'a',
  key,
  query: [['partNumber', String(number)], ['uploadId', `{${upload}}`]],
  headers: [['x-amz-copy-source', source], ...range === undefined ? [] : [['x-amz-copy-source-range', range] as const]],
  save: { [`e${number}`]: 'ETag' }
})

/** As minio-go repeats them with every request of an upload. */
const encrypted = (step: Step): Step => ({ ...step, headers: [...step.headers ?? [], ['x-amz-server-side-encryption', 'AES256']] })

export const uploads: readonly Scenario[] = [
  {
    name: 'upload with encryption headers on parts',
    buckets: ['a'],
    steps: [
      create('m', 'u'),
      encrypted(part('m', 'u', 1, 'part')),
      encrypted(parts('m', 'u')),
      encrypted(complete('m', 'u', [[1, '{e1}']])),
      get('m')
    ]
  },
  {
    name: 'upload life',
    buckets: ['a'],
    steps: [
      create('m', 'u', [['content-type', 'text/foo'], ['x-amz-meta-a', 'b'], ['x-amz-tagging', 'a=b']]),
      parts('m', 'u'),
      part('m', 'u', 1, big),
      part('m', 'u', 2, big),
      part('m', 'u', 3, 'tail'),
      parts('m', 'u'),
      parts('m', 'u', [['max-parts', '1']]),
      parts('m', 'u', [['part-number-marker', '2']]),
      list([['uploads', null]]),
      list([['uploads', null], ['prefix', 'x']]),
      head('m'),
      complete('m', 'u', [[1, '{e1}'], [2, '{e2}'], [3, '{e3}']]),
      head('m'),
      get('m'),
      get('m', { headers: [['range', 'bytes=5242870-5242890']] }),
      get('m', { headers: [['range', 'bytes=-6']] }),
      get('m', { headers: [['range', 'bytes=10485764-']] }),
      list(),
      list([['versions', null]]),
      { method: 'GET', bucket: 'a', key: 'm', query: [['tagging', null]] },
      complete('m', 'u', [[1, '{e1}'], [2, '{e2}'], [3, '{e3}']]),
      list([['uploads', null]]),
      parts('m', 'u'),
      abort('m', 'u')
    ]
  },
  {
    name: 'upload mistakes',
    buckets: ['a'],
    steps: [
      create('m', 'u'),
      part('m', 'u', 1, 'small', 'e1'),
      part('m', 'u', 2, 'small too', 'e2'),
      complete('m', 'u', [[1, '{e1}'], [2, '{e2}']]),
      complete('m', 'u', [[2, '{e2}'], [1, '{e1}']]),
      complete('m', 'u', [[1, '"ffffffffffffffffffffffffffffffff"']]),
      complete('m', 'u', [[9999, '{e1}']]),
      complete('m', 'u', []),
      { ...complete('m', 'u', []), body: '' },
      { ...complete('m', 'u', []), body: 'nonsense' },
      part('m', 'u', 0, 'x'),
      part('m', 'u', 10001, 'x'),
      { ...part('m', 'u', 1, 'x'), query: [['partNumber', 'x'], ['uploadId', '{u}']] },
      { ...part('m', 'u', 1, 'x'), query: [['partNumber', '1'], ['uploadId', 'nonsense']] },
      { ...complete('m', 'u', [[1, '{e1}']]), query: [['uploadId', 'nonsense']] },
      { ...abort('m', 'u'), query: [['uploadId', 'nonsense']] },
      { ...parts('m', 'u'), query: [['uploadId', 'nonsense']] },
      abort('m', 'u'),
      abort('m', 'u'),
      part('m', 'u', 1, 'x'),
      parts('m', 'u'),
      create('n', 'w'),
      part('n', 'w', 1, big),
      part('n', 'w', 1, 'overwritten'),
      complete('n', 'w', [[1, '{e1}']]),
      get('n'),
      create('o', 'x'),
      part('o', 'x', 1, 'only'),
      complete('o', 'x', [[1, '{e1}']]),
      get('o'),
      head('o'),
      create('p', 'y'),
      complete('p', 'y', [[1, '"x"']]),
      abort('p', 'y'),
      { ...create('q', 'z'), as: 'alt' },
      { ...create('q', 'z'), as: 'anonymous' },
      { ...create('q', 'z'), bucket: 'missing' }
    ]
  },
  {
    name: 'upload copies',
    buckets: ['a'],
    steps: [
      put('s', 'hello world'),
      put('big', 'x'.repeat(5 * 1024 * 1024 + 100)),
      create('m', 'u'),
      partCopy('m', 'u', 1, '{bucket:a}/big', 'bytes=0-5242879'),
      partCopy('m', 'u', 2, '{bucket:a}/s'),
      parts('m', 'u'),
      complete('m', 'u', [[1, '{e1}'], [2, '{e2}']]),
      get('m'),
      head('m'),
      create('n', 'w'),
      partCopy('n', 'w', 1, '{bucket:a}/s', 'bytes=2-4'),
      complete('n', 'w', [[1, '{e1}']]),
      get('n'),
      create('o', 'x'),
      ...['bytes=0-21', 'bytes=0', 'hello-world', '0-2', 'bytes=2-0', 'bytes=-1', 'bytes=0-'].map((range) => partCopy('o', 'x', 1, '{bucket:a}/s', range)),
      partCopy('o', 'x', 1, '{bucket:a}/missing'),
      partCopy('o', 'x', 1, '{bucket:missing}/s'),
      abort('o', 'x')
    ]
  }
]
