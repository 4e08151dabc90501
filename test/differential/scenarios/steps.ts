import type { Step } from '../side.ts'

type Rest = Partial<Step>

export const put = (key: string, body = 'hello', rest: Rest = {}): Step => ({ method: 'PUT', bucket: 'a', key, body, bare: true, ...rest })
export const get = (key: string, rest: Rest = {}): Step => ({ method: 'GET', bucket: 'a', key, ...rest })
export const head = (key: string, rest: Rest = {}): Step => ({ method: 'HEAD', bucket: 'a', key, ...rest })
export const remove = (key: string, rest: Rest = {}): Step => ({ method: 'DELETE', bucket: 'a', key, ...rest })
export const list = (query: NonNullable<Step['query']> = [], rest: Rest = {}): Step => ({ method: 'GET', bucket: 'a', query, ...rest })
/** A sub-resource of the bucket, or of an object when `key` is given. */
export const ask = (name: string, rest: Rest = {}): Step => ({ method: 'GET', bucket: 'a', query: [[name, null]], ...rest })
export const set = (name: string, body: string, rest: Rest = {}): Step => ({ method: 'PUT', bucket: 'a', query: [[name, null]], body, ...rest })
export const drop = (name: string, rest: Rest = {}): Step => ({ method: 'DELETE', bucket: 'a', query: [[name, null]], ...rest })
export const copy = (source: string, key: string, headers: NonNullable<Step['headers']> = [], rest: Rest = {}): Step => ({
  method: 'PUT',
  bucket: 'a',
  key,
  headers: [['x-amz-copy-source', source], ...headers],
  ...rest
})
