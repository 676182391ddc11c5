//! `skua image`: images in the store.

mod cat_manifest;
mod gc;
mod list;
mod rm;
mod verify;

use std::process::ExitCode;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Error;
use crate::output::Format;

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
        /// Print what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the manifest of an image
    CatManifest {
        /// Reference of the image
        image: String,
    },
    /// Compare the unpacked layers of images with what was unpacked
    Verify {
        /// References of the images
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
}

/// Runs the command.
pub(crate) fn run(command: ImageCommand, context: &Context) -> Result<ExitCode, Error> {
    match command {
        ImageCommand::List { format } => list::run(format, context),
        ImageCommand::Rm { images } => rm::run(&images, context),
        ImageCommand::Gc { dry_run } => gc::run(dry_run, context),
        ImageCommand::CatManifest { image } => cat_manifest::run(&image, context),
        ImageCommand::Verify { images } => verify::run(&images, context),
    }
}
