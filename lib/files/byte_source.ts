/** A place in a file of this machine. */
export interface FilePlace {
  /** The path of the file. */
  readonly path: string;
  /** Bytes of the whole file. */
  readonly size: number;
  /** The first byte of the place. */
  readonly offset: number;
}

/** Bytes that are fetched as they are needed: a file, a download, a buffer. */
export interface ByteSource {
  /** How many bytes there are. */
  readonly size: number;
  /** The place from which these bytes can be mapped, if they are contiguous in a local file. */
  locate?(offset: number, length: number): FilePlace | undefined;
  /** Exactly `length` bytes from `offset` on; rejects if the source ends before. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Frees what it holds; nothing is read afterwards. */
  close(): Promise<void>;
}

/** A file of weights: `name` is what errors call it. */
export interface WeightFile {
  readonly name: string;
  readonly source: ByteSource;
}
