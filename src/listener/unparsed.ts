import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { S3Error } from '../errors.ts'
import { accessRecord, type AccessRecord } from '../observe/access-log.ts'
import { renderError } from '../s3/error-document.ts'
import type { Connection } from './exchange.ts'
import { plainAddress } from './client-address.ts'
import { newRequestId } from './request-id.ts'
import { hostId } from './respond.ts'

/** How long what a refused client still sends is swallowed, in milliseconds. */
const lingerMs = 1000

/**
 * What Node's parser refused: a head that is no HTTP, broken chunk framing, headers too large or too slow. Answered with
 * an error document when nothing else is under way on the connection, and closed in any case.
 * @returns the access line of the answer; null where there was none, or where the line is that of the request under way.
 */
export function refuseUnparsed(error: NodeJS.ErrnoException, socket: Socket, connection: Connection | undefined): AccessRecord | null {
  if (connection === undefined || error.code === 'ECONNRESET') {
    socket.destroy()
    return null
  }
  connection.closing = true
  if (connection.current !== null) {
    // A body with broken framing: never an end.
    connection.current.fail(new S3Error('IncompleteBody', { message: 'The framing of the request body is not valid.' }))
    return null
  }
  if (!socket.writable || socket.bytesRead === connection.received) {
    socket.destroy()
    return null
  }
  const refused = refusal(error.code)
  const requestId = newRequestId()
  const sourceAddress = plainAddress(socket.remoteAddress)
  const document = renderError(refused, { resource: '', requestId, hostId })
  socket.end(head(refused, requestId, document.length) + document.toString('utf8'))
  // Unread bytes would turn the close into a reset that overtakes the answer.
  socket.resume()
  setTimeout(() => { socket.destroy() }, lingerMs).unref()
  return accessRecord({
    requestId, principal: null, sourceAddress, secure: socket instanceof TLSSocket, method: '', operation: null, bucket: null, key: null,
    status: refused.status, code: refused.code, bytesIn: 0, bytesOut: document.length, seconds: 0, firstByteSeconds: 0, userAgent: null
  }, { by: 'client', in: 'head' })
}

function refusal(code: string | undefined): S3Error {
  if (code === 'HPE_HEADER_OVERFLOW') return new S3Error('MaxMessageLengthExceeded', { message: 'Your request header section is too large.' })
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new S3Error('RequestTimeout')
  return new S3Error('BadRequest', { message: 'An error occurred when parsing the HTTP request.' })
}

function head(error: S3Error, requestId: string, length: number): string {
  return `HTTP/1.1 ${error.status} Bad Request\r\nx-amz-id-2: ${hostId}\r\nx-amz-request-id: ${requestId}\r\nServer: Sealgate\r\n`
    + `Date: ${new Date().toUTCString()}\r\nContent-Type: application/xml\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`
}
