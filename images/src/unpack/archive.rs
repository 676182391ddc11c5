//! The members of a tar archive, one after the other: ustar, PAX and GNU.
//!
//! The walk is our own and only the header's fields are the tar crate's, because its iterator reads extension headers of
//! any size into memory, splits PAX records at newlines (file capabilities hold such bytes) and takes every header's
//! size on trust.

use std::io::{self, BufRead};

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::header::{self, BLOCK};
use super::pax::{self, Pax};
use super::{Limits, UnpackError};
use crate::escape;

/// One member: what it is and what it is called; its data follow in the archive.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) name: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: (i64, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a member is.
#[derive(Debug)]
pub(crate) enum Kind {
    File(Vec<Extent>),
    HardLink(Vec<u8>),
    Symlink(Vec<u8>),
    Directory,
    Fifo,
    Device { kind: char, major: u32, minor: u32 },
}

/// Where a run of a file's bytes goes. A file that is not sparse has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// What an archive is read from.
pub(crate) trait Skip: BufRead {
    /// Passes over bytes. `false`: there are not so many.
    fn skip(&mut self, amount: u64) -> io::Result<bool>;

    /// Bytes read or passed over so far.
    fn position(&self) -> u64;
}

/// An archive that is being read.
pub(crate) struct TarReader<'a, R> {
    input: &'a mut R,
    limits: &'a Limits,
    /// Members so far, extension headers not counted.
    number: u64,
    /// Bytes of data up to the padding.
    pending: u64,
    /// Bytes from the data to the next header.
    padding: u64,
}

/// What comes before a member and is about it.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    bytes: u64,
}

impl<'a, R: Skip> TarReader<'a, R> {
    pub(crate) fn new(input: &'a mut R, limits: &'a Limits) -> Self {
        Self {
            input,
            limits,
            number: 0,
            pending: 0,
            padding: 0,
        }
    }

    /// The next member, or `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, UnpackError> {
        self.skip()?;
        self.number += 1;
        let mut extensions = Extensions::default();
        while let Some(block) = self.header()? {
            let header = Header::from_byte_slice(&block);
            let kind = header.entry_type();
            if !self.extension(&mut extensions, header, kind)? {
                return self.member(header, extensions).map(Some);
            }
        }
        match extensions.bytes {
            0 => Ok(None),
            _ => Err(UnpackError::Truncated(self.number)),
        }
    }

    /// Calls `take` with the data of the member, piece by piece. The pieces are the decoder's own buffers.
    pub(crate) fn data(
        &mut self,
        length: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut left = length;
        while left > 0 {
            let piece = self.input.fill_buf().map_err(UnpackError::Read)?;
            if piece.is_empty() {
                return Err(UnpackError::Truncated(self.number));
            }
            let amount = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
            take(&piece[..amount])?;
            self.input.consume(amount);
            left -= amount as u64;
        }
        self.pending -= length;
        Ok(())
    }

    /// Where the data of the member are in the input.
    pub(crate) fn position(&self) -> u64 {
        self.input.position()
    }

    /// Passes over the rest of a member. The last one of an archive may lack its padding, as in what `umoci insert`
    /// writes: all its data are there.
    fn skip(&mut self) -> Result<(), UnpackError> {
        if !self.input.skip(self.pending).map_err(UnpackError::Read)? {
            return Err(UnpackError::Truncated(self.number));
        }
        self.input.skip(self.padding).map_err(UnpackError::Read)?;
        (self.pending, self.padding) = (0, 0);
        Ok(())
    }

    /// The next header; `None` at two blocks of zeros or where the archive ends without them.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block != [0; BLOCK] {
            header::check_sum(&block).map_err(|why| self.bad(why))?;
            return Ok(Some(block));
        }
        match self.block()? {
            Some(second) if second != [0; BLOCK] => {
                Err(self.bad("there is a single block of zeros before its header"))
            }
            _ => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, UnpackError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(UnpackError::Truncated(self.number)),
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(UnpackError::Read(e)),
            }
        }
        Ok(Some(block))
    }

    /// Keeps what an extension header says. `false`: it is a member.
    fn extension(
        &mut self,
        known: &mut Extensions,
        header: &Header,
        kind: EntryType,
    ) -> Result<bool, UnpackError> {
        let is_extension = kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions()
            || kind.is_gnu_longname()
            || kind.is_gnu_longlink();
        if !is_extension {
            return Ok(false);
        }
        let size = header::numbers(header).map_err(|why| self.bad(why))?.size;
        known.bytes = known
            .bytes
            .saturating_add(size)
            .saturating_add(BLOCK as u64);
        if known.bytes > self.limits.extensions {
            return Err(UnpackError::Limit {
                what: "bytes of extension headers for one entry",
                limit: self.limits.extensions,
            });
        }
        self.expect_data(size)?;
        let mut data = Vec::new();
        self.data(size, |piece| {
            data.extend_from_slice(piece);
            Ok(())
        })?;
        self.skip()?;
        let kept = match kind {
            EntryType::XGlobalHeader => pax::check_global(&data),
            EntryType::XHeader => pax::parse(&data).and_then(|pax| once(&mut known.pax, pax)),
            EntryType::GNULongName => long_name(data).and_then(|name| once(&mut known.name, name)),
            _ => long_name(data).and_then(|link| once(&mut known.link, link)),
        };
        kept.map(|()| true).map_err(|why| self.bad(why))
    }

    /// Puts a member together. For each fact one source decides: PAX, then GNU, then the header.
    fn member(&mut self, header: &Header, known: Extensions) -> Result<Member, UnpackError> {
        let bad = |why| UnpackError::Header {
            number: self.number,
            why,
        };
        let numbers = header::numbers(header).map_err(bad)?;
        let pax = known.pax.unwrap_or_default();
        let name = pax.path.or(known.name);
        let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.or(known.link);
        let link = link.or_else(|| header.link_name_bytes().map(|link| link.into_owned()));
        let size = pax.size.unwrap_or(numbers.size);
        self.expect_data(size)?;
        let kind = self.kind(header, &name, link.unwrap_or_default(), size)?;
        Ok(Member {
            kind,
            name,
            mode: numbers.mode & 0o7777,
            uid: pax.uid.unwrap_or(numbers.uid),
            gid: pax.gid.unwrap_or(numbers.gid),
            mtime: pax.mtime.unwrap_or((numbers.mtime, 0)),
            xattrs: pax.xattrs,
        })
    }

    fn kind(
        &mut self,
        header: &Header,
        name: &[u8],
        link: Vec<u8>,
        size: u64,
    ) -> Result<Kind, UnpackError> {
        let entry = |why| UnpackError::Entry {
            path: escape::text(name),
            why,
        };
        let old_directory = header.as_old().linkflag == [0] && name.ends_with(b"/");
        let kind = match header.entry_type() {
            EntryType::Regular if old_directory => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                let whole = Extent {
                    offset: 0,
                    length: size,
                };
                return Ok(Kind::File(vec![whole]));
            }
            EntryType::GNUSparse => return self.sparse(header, size).map(Kind::File),
            EntryType::Link => Kind::HardLink(link),
            EntryType::Symlink => Kind::Symlink(link),
            EntryType::Directory => Kind::Directory,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char | EntryType::Block => {
                let (major, minor) = header::device(header).map_err(entry)?;
                let kind = if header.entry_type() == EntryType::Char {
                    'c'
                } else {
                    'b'
                };
                Kind::Device { kind, major, minor }
            }
            _ => return Err(entry("its type is unknown")),
        };
        if size != 0 {
            return Err(entry("it is not a file but has a size"));
        }
        Ok(kind)
    }

    /// The map of a sparse file in the old GNU form: runs in the order of the data, and the size at the end.
    fn sparse(&mut self, header: &Header, size: u64) -> Result<Vec<Extent>, UnpackError> {
        let number = self.number;
        let bad = |why| UnpackError::Header { number, why };
        let gnu = header.as_gnu().ok_or(bad("it is sparse without a map"))?;
        let mut extents = Vec::new();
        let mut end = 0;
        for run in &gnu.sparse {
            add_run(&mut extents, &mut end, run).map_err(bad)?;
        }
        let mut more = gnu.isextended[0] != 0;
        let mut map_bytes = 0;
        while more {
            let block = self.block()?.ok_or(UnpackError::Truncated(number))?;
            map_bytes += BLOCK as u64;
            if map_bytes > self.limits.extensions {
                return Err(bad("its sparse map is too large"));
            }
            let mut extension = GnuExtSparseHeader::new();
            extension.as_mut_bytes().copy_from_slice(&block);
            for run in &extension.sparse {
                add_run(&mut extents, &mut end, run).map_err(bad)?;
            }
            more = extension.isextended[0] != 0;
        }
        let stored: u64 = extents.iter().map(|run: &Extent| run.length).sum();
        let real = header::number(&gnu.realsize).map_err(bad)?;
        if stored != size || real < end {
            return Err(bad("its sparse map does not fit its size"));
        }
        extents.push(Extent {
            offset: real,
            length: 0,
        });
        Ok(extents)
    }

    /// Notes that `size` bytes of data and their padding follow.
    fn expect_data(&mut self, size: u64) -> Result<(), UnpackError> {
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let padded = padded.ok_or_else(|| self.bad("its size is out of range"))?;
        (self.pending, self.padding) = (size, padded - size);
        Ok(())
    }

    fn bad(&self, why: &'static str) -> UnpackError {
        UnpackError::Header {
            number: self.number,
            why,
        }
    }
}

fn add_run(
    extents: &mut Vec<Extent>,
    end: &mut u64,
    run: &tar::GnuSparseHeader,
) -> Result<(), &'static str> {
    let (offset, length) = (header::number(&run.offset)?, header::number(&run.numbytes)?);
    if run.offset[0] == 0 || run.numbytes[0] == 0 {
        return Ok(());
    }
    if offset < *end {
        return Err("its sparse map overlaps itself");
    }
    *end = offset
        .checked_add(length)
        .ok_or("its sparse map is out of range")?;
    extents.push(Extent { offset, length });
    Ok(())
}

fn once<T>(field: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err("it has two extension headers of the same kind"),
    }
}

/// The text of a GNU long name, which ends with a NUL.
fn long_name(mut data: Vec<u8>) -> Result<Vec<u8>, &'static str> {
    if let Some(end) = data.iter().position(|byte| *byte == 0) {
        if data[end..].iter().any(|byte| *byte != 0) {
            return Err("its long name has a NUL");
        }
        data.truncate(end);
    }
    match data.is_empty() {
        true => Err("its long name is empty"),
        false => Ok(data),
    }
}
