import type { HttpResponse } from '../http/message.ts'

type Header = readonly [name: string, value: string]

/** Told of headers of the answer as soon as they are known: those that come after its head has gone out are lost. */
export type Known = (headers: readonly Header[]) => void

/**
 * An XML answer with status 200 that may take long, as those of copies and of CompleteMultipartUpload: clients give up after
 * about 60 s of silence.
 * @param work makes the document. What it throws is answered as an error, inside of the 200 when that has begun.
 */
export function pendingAnswer(work: (known: Known) => Promise<Buffer>): HttpResponse {
  const headers: Header[] = [['content-type', 'application/xml']]
  const document = work((more) => { headers.push(...more) })
  // It may fail before anyone has had a turn to listen.
  document.catch(() => undefined)
  return { status: 200, headers: [], body: null, pending: { headers: () => headers, document } }
}
