// One request for every operation of the table, so that a new operation cannot be left out of a test.
import { operationNames, operations, type OperationName, type OperationRow } from '../../src/s3/operations.ts'
import type { Draft, Headers } from '../support/signing.ts'

export interface OperationRequest {
  readonly name: OperationName
  readonly row: OperationRow
  readonly draft: Draft
  readonly body: string
}

const values: Readonly<Record<string, string>> = { id: 'x', uploadId: 'upload', partNumber: '1', annotationName: 'a' }

/** Bodies that the gateway reads itself before it sends anything. */
const documents: Readonly<Partial<Record<OperationName, string>>> = {
  DeleteObjects: '<Delete><Object><Key>key</Key></Object></Delete>',
  CompleteMultipartUpload: '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"x"</ETag></Part></CompleteMultipartUpload>',
  PutBucketLifecycleConfiguration:
    '<LifecycleConfiguration><Rule><ID>r</ID><Filter/><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>',
  RestoreObject: '<RestoreRequest><Days>1</Days></RestoreRequest>'
}

/** A request of an operation as the table describes it; not yet signed. Query parameters are sorted, as signers want them. */
export function operationRequest(name: OperationName, bucket: string, key: string): OperationRequest {
  const row: OperationRow = operations[name]
  const path = row.level === 'service' ? '/' : row.level === 'bucket' ? `/${bucket}` : `/${bucket}/${key}`
  const query = row.select.map((text) => text.includes('=') ? text : values[text] === undefined ? text : `${text}=${values[text]}`).sort()
  const body = row.takesBody === 'none' ? '' : documents[name] ?? '<x/>'
  const headers: Headers = [
    ...row.header === undefined ? [] : [[row.header, row.header === 'x-amz-copy-source' ? `/${bucket}/source` : 'route'] as const],
    ...name === 'PostObject' ? [['Content-Type', 'multipart/form-data; boundary=b'] as const] : []
  ]
  return { name, row, body, draft: { method: row.method, target: query.length === 0 ? path : `${path}?${query.join('&')}`, headers } }
}

export function operationRequests(bucket: string, key: string): readonly OperationRequest[] {
  return operationNames.map((name) => operationRequest(name, bucket, key))
}
