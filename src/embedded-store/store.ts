import { S3Error } from '../errors.ts'
import { percentDecode } from '../http/target.ts'
import { errorAnswer } from './answer.ts'
import { Catalog } from './catalog.ts'
import { documentRules } from './documents.ts'
import { route } from './route.ts'
import { SignatureCheck } from './verify.ts'
import type { HttpRequest, HttpResponse } from '../http/message.ts'
import type { Backend } from './backend.ts'
import type { CannedAcl } from './records.ts'
import type { StoreRequest, StoreSettings } from './request.ts'
import type { Credential } from './verify.ts'

export interface StoreOptions {
  readonly backend: Backend
  readonly credentials: readonly Credential[]
  /** The one region of the credential scopes. */
  readonly region: string
  /**
   * Whether objects written without a checksum get a CRC-64/NVME, as AWS does since 2025. Default true; it costs CPU time
   * per byte, which benchmarks of something else do not want to pay.
   */
  readonly defaultChecksum?: boolean
  /** Base domain: requests to `bucket.<domain>` are virtual-host style. Default: none, path style only. */
  readonly domain?: string
}

/** S3 without the HTTP server around it: requests in, answers out, errors rendered. */
export class Store {
  readonly catalog: Catalog
  readonly #settings: StoreSettings
  readonly #signatures: SignatureCheck
  readonly #domain: string | undefined

  private constructor(catalog: Catalog, settings: StoreSettings, { credentials, region, domain }: StoreOptions) {
    this.catalog = catalog
    this.#settings = settings
    this.#signatures = new SignatureCheck(credentials, region)
    this.#domain = domain
  }

  static async open(options: StoreOptions): Promise<Store> {
    const { region, defaultChecksum = true } = options
    return new Store(await Catalog.open(options.backend), { region, defaultChecksum }, options)
  }

  /**
   * Never rejects: whatever goes wrong becomes an error answer.
   * @param catalog what the answer is about, where that is not what is stored
   */
  async handle(request: HttpRequest, catalog: Catalog = this.catalog): Promise<HttpResponse> {
    try {
      const { anonymous, headers, payload } = this.#signatures.verify(request, Date.now())
      const { bucket, key } = this.address(request)
      const { method, target: { query } } = request
      const storeRequest: StoreRequest = { http: request, method, bucket, key, query, headers, payload, anonymous }
      if (anonymous) this.#checkAnonymous(storeRequest)
      return await route(storeRequest)(storeRequest, { ...this.#settings, catalog })
    } catch (error) {
      return errorAnswer(error, request)
    }
  }

  /**
   * Bucket and key of a request, each '' when there is none. Decoded once; whatever follows the slash after the bucket is the key.
   * @throws S3Error InvalidURI
   */
  address({ host, target: { rawPath } }: Pick<HttpRequest, 'host' | 'target'>): { readonly bucket: string; readonly key: string } {
    const name = host.replace(/:\d+$/, '')
    if (this.#domain !== undefined && name.endsWith(`.${this.#domain}`)) {
      return { bucket: name.slice(0, -this.#domain.length - 1), key: percentDecode(rawPath.slice(1)) }
    }
    const slash = rawPath.indexOf('/', 1)
    const end = slash < 0 ? rawPath.length : slash
    return { bucket: percentDecode(rawPath.slice(1, end)), key: percentDecode(rawPath.slice(end + 1)) }
  }

  /** Anonymous requests may read what a canned ACL made public, and nothing else. @throws S3Error AccessDenied */
  #checkAnonymous({ method, bucket, key, query }: StoreRequest): void {
    const reads = (method === 'GET' || method === 'HEAD') && query.parameters.every(({ name }) => !privateParameters.has(name))
    const acl: CannedAcl | undefined = reads && this.catalog.has(bucket)
      ? key === '' ? this.catalog.bucket(bucket).record.acl : this.catalog.bucket(bucket).current(key)?.acl
      : undefined
    if (acl !== 'public-read' && acl !== 'public-read-write') throw new S3Error('AccessDenied')
  }
}

/** Sub-resources and old versions are not covered by READ of the current object or the listing. */
const privateParameters = new Set(['acl', 'attributes', 'legal-hold', 'location', 'retention', 'tagging', 'uploadId', 'uploads', 'versionId',
  'versioning', 'versions', ...Object.keys(documentRules)])
