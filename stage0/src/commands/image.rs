//! `skua image`: images in the store.

mod cat_manifest;
mod export;
mod extract;
mod gc;
mod list;
mod rm;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use images::export::With;

use crate::context::Context;
use crate::error::Error;
use crate::output::Format;
use crate::typed::Seconds;

// What `image` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List the images
    List {
        /// How it is printed
        #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
        format: Format,
    },
    /// Remove images; layers that nothing uses go with them
    Rm {
        /// References of the images
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Remove what no image and no pod uses
    Gc {
        /// Keep what has been unneeded for less than this; 0s removes downloads that broke off, too
        #[arg(long, value_name = "TIME")]
        grace_period: Option<Seconds>,
        /// Print what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the manifest of an image
    CatManifest {
        /// Reference of the image
        image: String,
    },
    /// Write an image into an archive of an OCI image layout
    Export {
        /// Reference of the image
        image: String,
        /// The archive, which must not exist; '-' for standard output
        file: PathBuf,
        /// Leave the image's signatures out: the archive has one image and nothing else, as podman load wants it
        #[arg(long)]
        without_signatures: bool,
    },
    /// Write the files of an image into a directory, or as a tar archive to standard output
    #[command(allow_missing_positional = true)]
    Extract {
        /// Reference of the image
        image: String,
        /// The file or directory of the image to extract [default: all of it]
        path: Option<String>,
        /// The directory, new (made with mode 0700) or empty; '-' for a tar archive on standard output
        directory: PathBuf,
    },
    /// Compare the unpacked layers of images with what was unpacked
    Verify {
        /// References of the images
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
        /// Unpack every layer once more, from its kept blob or where the image came from, and compare content, mode, owner and attributes
        #[arg(long)]
        contents: bool,
        /// Unpack layers that were changed again, from where the image came from
        #[arg(long)]
        repair: bool,
    },
}

/// Runs the command.
pub(crate) fn run(command: ImageCommand, context: &Context) -> Result<ExitCode, Error> {
    match command {
        ImageCommand::List { format } => list::run(format, context),
        ImageCommand::Rm { images } => rm::run(&images, context),
        ImageCommand::Gc {
            grace_period,
            dry_run,
        } => gc::run(grace_period, dry_run, context),
        ImageCommand::Export {
            image,
            file,
            without_signatures,
        } => {
            let with = match without_signatures {
                true => With::ImageAlone,
                false => With::Signatures,
            };
            export::run(&image, &file, with, context)
        }
        ImageCommand::Extract {
            image,
            path,
            directory,
        } => extract::run(&image, path.as_deref(), &directory, context),
        ImageCommand::CatManifest { image } => cat_manifest::run(&image, context),
        ImageCommand::Verify {
            images,
            contents,
            repair,
        } => {
            let how = verify::How { contents, repair };
            verify::run(&images, how, context)
        }
    }
}
